"""Supervised pretraining of a backbone, which can be stopped and goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from energytune.config import PretrainSettings
from energytune.data import Splits
from energytune.errors import ConfigError
from energytune.models import Backbone, build_model
from energytune.models.checkpoint_write import checkpoint_bytes
from energytune.paths import atomic_file
from energytune.training.finetune import Finetuner
from energytune.training.records import FinetuneEpoch
from energytune.training.tuner_state import read_state, write_state

__all__ = ["PretrainRun"]

_ADVICE = "Free some space or choose another --out."
_SAVING_SHARE = 0.05
"""Share of the time that may go into saving states."""


class PretrainRun:
    """Trains a random backbone with a linear head; iterating it yields each new epoch.

    The state is written beside the weights often enough that a stop costs little. Batch order and
    augmentation depend on (seed, epoch) alone, so a resumed run ends with the same weights.

    Args:
        settings: What is trained, and how.
        splits: The dataset; only train and valid are read.
        backbone: With random weights under ``settings.seed``.
        state_path: Where the state is kept.
        identity: JSON values; a state with others is another run's.
        device: Where it computes.

    Attributes:
        epochs: All epochs so far, those before a resume too.
        n_resumed: Epochs that were run before.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        splits: Splits,
        backbone: Backbone,
        *,
        state_path: Path,
        identity: dict[str, Any],
        device: torch.device,
    ) -> None:
        if backbone.map_size is not None:
            raise ConfigError(
                f"Backbone {backbone.name!r} gives maps, and pretraining needs one vector a sample."
            )
        self._settings, self._identity, self._path = settings, identity, state_path
        self._name = backbone.name
        self._config = settings.schedule()
        model = build_model(
            backbone,
            head_arch="linear",
            n_outputs=splits.task.n_outputs,
            reinit_depth=0,
            seed=settings.seed,
        )
        self._tuner = Finetuner(
            model,
            splits.train,
            splits.valid,
            splits.task,
            self._config,
            ft_lr=settings.lr,
            seed=settings.seed,
            device=device,
            label_smoothing=settings.label_smoothing,
        )
        self.epochs: list[FinetuneEpoch] = []
        self._resume()
        self.n_resumed = len(self.epochs)

    @property
    def best(self) -> FinetuneEpoch | None:
        """The best epoch by validation so far."""
        return self._tuner.best

    def __iter__(self) -> Iterator[FinetuneEpoch]:
        """Yields the epochs that are left; the state is saved between them.

        Raises:
            TrialFailure: If the loss is not finite.
            OutputError: If the state can't be written.
        """
        saved_at, cost_s = perf_counter(), 0.0
        for epoch in self._tuner:
            self.epochs.append(epoch)
            started = perf_counter()
            is_last = epoch.epoch == self._config.epochs
            if is_last or cost_s <= _SAVING_SHARE * (started - saved_at):
                self._save_state()
                saved_at = perf_counter()
                cost_s = saved_at - started
            yield epoch

    def weights(self) -> dict[str, Tensor]:
        """Returns the backbone's tensors: of the best or the last epoch, as the settings say."""
        if self._settings.keep == "best":
            self._tuner.load_best()
        module = self._tuner.model.backbone
        return {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}

    def write_weights(self, path: Path, metadata: dict[str, str]) -> None:
        """Writes the backbone's weights as safetensors, and drops the state.

        Raises:
            OutputError: If the file can't be written.
        """
        with atomic_file(path, _ADVICE) as file:
            file.write(checkpoint_bytes(self.weights(), {"format": "pt", **metadata}))
        self._path.unlink(missing_ok=True)

    def _save_state(self) -> None:
        curve = [vars_of(epoch) for epoch in self.epochs]
        extra = {"identity": self._identity, "curve": curve}
        write_state(self._path, self._tuner.state(), extra, _ADVICE)

    def _resume(self) -> None:
        found = read_state(self._path)
        if found is None:
            return
        state, extra = found
        if extra.get("identity") != self._identity:
            different = _differences(extra.get("identity"), self._identity)
            raise ConfigError(
                f"{self._path} belongs to another pretraining: {different}. Use its settings to go "
                "on with it, choose another --out, or delete it to begin anew."
            )
        self._tuner.load_state(state)
        self.epochs = [FinetuneEpoch(**row) for row in extra["curve"]]


def vars_of(epoch: FinetuneEpoch) -> dict[str, float]:
    """Returns the epoch's fields by name."""
    return {name: getattr(epoch, name) for name in epoch.__slots__}


def _differences(theirs: Any, ours: dict[str, Any]) -> str:
    known = theirs if isinstance(theirs, dict) else {}
    told = [f"{k} is {known.get(k)!r}, not {v!r}" for k, v in ours.items() if known.get(k) != v]
    return "; ".join(told[:4]) or "it was written by another version"
