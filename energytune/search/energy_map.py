"""What probing a grid of heads gives back: the energy map, without any finetuning."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from energytune.config import ProbeGrid
from energytune.science.guide import Finding, GuideContext, HeadCurve, diagnose
from energytune.trial.map_curve import MapCurve, curve_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from energytune.optimizer.energy_lookup import MapLookup

__all__ = ["EnergyMap", "head_curve"]


@dataclass(frozen=True)
class EnergyMap:
    """HP-train-accuracy, AIE and more at every tau of every head.

    Attributes:
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        grid: Which heads, and how far.
        curves: One a head, in the grid's order.
        n_classes: Width K of the logits.
        n_train: Training samples.
        metric: What the accuracies are: ``"accuracy"``, ``"roc_auc"`` or ``"miou"``.
        provenance: Hashes of weights and data, device, versions.
        notes: What is out of the ordinary, for example features that did not fit on disk.
        seconds: Wall-clock seconds by stage: ``build``, ``probe`` (features included).
        link: MLflow page of the map; None if it was not logged.
    """

    dataset: str
    backbone: str
    grid: ProbeGrid
    curves: Sequence[MapCurve]
    n_classes: int
    n_train: int
    metric: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    link: str | None = None
    _deepest: Callable[[], int] = field(default=lambda: 0, repr=False, compare=False)

    @cached_property
    def max_reinit_depth(self) -> int:
        """Deepest cut of the backbone, >= 0; found when first asked for, by running it."""
        return self._deepest()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a head and tau; accuracies in [0, 1], losses in nats, AIE in [0, sqrt(2)]."""
        import pandas as pd

        return pd.DataFrame(list(curve_rows(self.curves)))

    @cached_property
    def lookup(self) -> MapLookup:
        """What a sampler asks of this map: ``EnergySampler(energy=energy_map.lookup)``.

        ``lookup(params)`` takes a trial's parameters, named as in a recipe, and returns what
        probing knows of them; see :class:`~energytune.optimizer.energy_lookup.MapLookup`.

        Raises:
            ConfigError: If every head failed.
        """
        from energytune.optimizer.energy_lookup import MapLookup

        return MapLookup((curve.head, curve.snapshots) for curve in self.curves)

    def plot(self) -> Figure:
        """Returns the figure: AIE and HP-train-accuracy against tau, a line a head."""
        from energytune.report.energy_map import plot_probe_map

        softmax = self.metric != "roc_auc"
        return plot_probe_map(
            self.frame,
            self.n_classes if softmax else None,
            score=self.context().train_score,
            title=f"{self.dataset}, {self.backbone}",
        )

    def context(self, options: str = "") -> GuideContext:
        """Returns what the user guide must know beside the curves.

        Args:
            options: Further command-line options that the advised commands repeat.
        """
        return GuideContext(
            dataset=self.dataset,
            backbone=self.backbone,
            n_classes=self.n_classes,
            tau_max=self.grid.tau_max,
            n_train=self.n_train,
            metric=self.metric,
            max_reinit_depth=self.max_reinit_depth,
            options=options,
        )

    def findings(self, options: str = "") -> list[Finding]:
        """Returns what the user guide says to this map, most important first.

        Args:
            options: Further command-line options that the advised commands repeat.
        """
        return diagnose([head_curve(curve) for curve in self.curves], self.context(options))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return {
            "dataset": self.dataset,
            "backbone": self.backbone,
            "n_classes": self.n_classes,
            "n_train": self.n_train,
            "metric": self.metric,
            "max_reinit_depth": self.max_reinit_depth,
            "grid": self.grid.model_dump(mode="json"),
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "mlflow": self.link,
            "heads": [
                {
                    **asdict(curve.head),
                    "converged_epoch": curve.converged_epoch,
                    "failure": curve.failure,
                    "snapshots": [asdict(snapshot) for snapshot in curve.snapshots],
                }
                for curve in self.curves
            ],
        }

    def to_json(self, findings: Sequence[Finding] | None = None) -> str:
        """Returns everything as one JSON document.

        Args:
            findings: What the guide says to it, to be told too.
        """
        plain = self.to_dict()
        if findings is not None:
            plain["findings"] = [asdict(finding) for finding in findings]
        return json.dumps(plain, indent=2, allow_nan=False)


def head_curve(curve: MapCurve) -> HeadCurve:
    """Returns a head of the map as the user guide reads it."""
    head, snapshots = curve.head, curve.snapshots
    return HeadCurve(
        head_arch=head.head_arch,
        label_smoothing=head.label_smoothing,
        reinit_depth=head.reinit_depth,
        lr=head.lr,
        seed=head.seed,
        epochs=tuple(s.epoch for s in snapshots),
        train_acc=tuple(s.train_acc for s in snapshots),
        valid_acc=tuple(s.valid_acc for s in snapshots),
        valid_loss=tuple(s.valid_loss for s in snapshots),
        aie=tuple(s.aie for s in snapshots),
        head_norm=tuple(s.head_norm for s in snapshots),
        pull_norm=tuple(s.pull_norm for s in snapshots),
        converged_epoch=curve.converged_epoch,
        weight_decay=head.weight_decay,
        failure=curve.failure,
    )
