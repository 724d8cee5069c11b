"""What a rule gives, what it must know beside the map, and the commands that it may propose."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from energytune.errors import ConfigError
from energytune.science.energy_levels import reserved_energy, uniform_energy

__all__ = ["Confidence", "Finding", "GuideContext", "probe_command", "search_command"]

Confidence = Literal["high", "medium", "low"]
"""How well the way from the phenomenon to the advice is supported.

``"high"``: it follows from the numbers shown or from a formula; no finetuning is needed to know.
``"medium"``: finetuning went this way on most tasks of the paper or of our own measurements.
``"low"``: a heuristic that holds on some tasks. In all cases validation accuracy after
finetuning decides.
"""

_SCORES = {"accuracy": "acc", "roc_auc": "ROC-AUC", "miou": "mIoU"}
_WEIGHTS = ("--checkpoint", "--weights")


@dataclass(frozen=True)
class Finding:
    """One piece of advice: phenomenon -> hypothesis -> what to try.

    Attributes:
        rule: Name of the rule.
        phenomenon: What the map shows, with the measured numbers.
        hypothesis: What it may mean for finetuning.
        advice: What to try.
        command: A complete command that tries it.
        source: ``"Ren et al. 2023, ..."`` or ``"measured: ..."``.
        confidence: See :data:`Confidence`.
    """

    rule: str
    phenomenon: str
    hypothesis: str
    advice: str
    command: str
    source: str
    confidence: Confidence


@dataclass(frozen=True)
class GuideContext:
    """What an energy map was measured on, and how commands name it.

    Attributes:
        dataset: ``--dataset``.
        backbone: ``--backbone``; empty is the dataset's own, and left out of commands.
        n_classes: K, or the number of labels of a multi-label task, >= 1.
        tau_max: Epochs that heads were probed for at most, >= 0.
        n_train: Training samples, >= 1.
        metric: ``"accuracy"``, ``"roc_auc"`` (multi-label) or ``"miou"``.
        max_reinit_depth: Deepest cut of the backbone, >= 0.
        options: More options that every command repeats, as a shell reads them.

    Raises:
        ConfigError: A number is out of range, the metric is unknown, or a quote is left open.
    """

    dataset: str
    backbone: str
    n_classes: int
    tau_max: int
    n_train: int
    metric: str = "accuracy"
    max_reinit_depth: int = 0
    options: str = ""

    def __post_init__(self) -> None:
        """Checks all values."""
        for name, least in (("n_classes", 1), ("tau_max", 0), ("n_train", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} of the guide must be at least {least}, got {getattr(self, name)}. "
                    "Take it from the map's own probing."
                )
        if self.metric not in _SCORES:
            raise ConfigError(
                f"metric of the guide must be one of {', '.join(_SCORES)}, got {self.metric!r}. "
                "Take it from the task."
            )
        try:
            shlex.split(self.options)
        except ValueError as error:
            raise ConfigError(
                f"options of the guide must be words of a shell, got {self.options!r} "
                f"({error}). Quote them with shlex.join."
            ) from None

    @property
    def train_score(self) -> str:
        """Name of the training score, ``"HP-train-acc"`` for accuracy."""
        return f"HP-train-{_SCORES[self.metric]}"

    @property
    def valid_score(self) -> str:
        """Name of the validation score, ``"HP-valid-acc"`` for accuracy."""
        return f"HP-valid-{_SCORES[self.metric]}"

    @property
    def chance(self) -> float:
        """Score of a head that knows nothing: 1 / K; 0.5 for ROC-AUC."""
        return 0.5 if self.metric == "roc_auc" else 1 / self.n_classes

    def floor(self, label_smoothing: float) -> float | None:
        """Returns the energy that probing tends to; None where no formula is known.

        0 without smoothing, the reserve eps * sqrt((K - 1) / K) with it. The reserve of a
        multi-label task depends on how many labels a sample has.
        """
        if label_smoothing == 0:
            return 0.0
        if self.metric == "roc_auc":
            return None
        return reserved_energy(label_smoothing, self.n_classes)

    def uniform(self) -> float | None:
        """Returns the energy of a uniform prediction; None where no formula is known."""
        return None if self.metric == "roc_auc" else uniform_energy(self.n_classes)


def search_command(context: GuideContext, **fixes: object) -> str:
    """Returns a complete ``energytune search`` command.

    Args:
        context: Dataset, backbone and options to repeat.
        fixes: Dimensions of the search space to fix, in this order.
    """
    words = ["energytune", "search", *_target(context)]
    for name, value in fixes.items():
        words += ["--fix", f"{name}={_text(value)}"]
    return shlex.join(words)


def probe_command(
    context: GuideContext, options: list[tuple[str, object]], *, weights: bool = True
) -> str:
    """Returns a complete ``energytune probe`` command; it draws the map again.

    Args:
        context: Dataset, backbone and options to repeat.
        options: Option without dashes -> value; an option may come several times. ``tau-max``
            is that of the map if it isn't given.
        weights: Whether the options that name the backbone's weights are repeated.
    """
    words = ["energytune", "probe", *_target(context, weights=weights)]
    if "tau-max" not in dict(options):
        options = [*options, ("tau-max", context.tau_max)]
    for name, value in options:
        words += [f"--{name}", _text(value)]
    return shlex.join(words)


def _target(context: GuideContext, *, weights: bool = True) -> list[str]:
    words = ["--dataset", context.dataset]
    if context.backbone:
        words += ["--backbone", context.backbone]
    more = shlex.split(context.options)
    if not weights:
        more = _without(more, _WEIGHTS)
    return words + more


def _without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """Returns the words without some options, written ``--name value`` or ``--name=value``."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
