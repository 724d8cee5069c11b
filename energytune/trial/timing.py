"""What an epoch takes on this machine: a second or two of real probing and finetuning.

Nothing of it is kept: no snapshot is written, and the random state is as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from energytune.config import Recipe, SearchSpace
from energytune.data import Split
from energytune.training.finetune import Finetuner
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.trial.bench import Bench

__all__ = ["Timing", "time_bench"]

_HP_EPOCHS = (1, 8)
_LONG_HP_EPOCH_S = 0.1
_TRAIN_S, _VALID_S = 1.0, 0.5


@dataclass(frozen=True)
class Timing:
    """What was measured with one trial alone on the machine, and sizes.

    Attributes:
        hp_epoch_s: Seconds of one probing epoch of a linear head on cached features.
        ft_epoch_s: Seconds of one finetuning epoch, validation included.
        weights_bytes: Bytes of a trained model's weights.
    """

    hp_epoch_s: float
    ft_epoch_s: float
    weights_bytes: int

    @property
    def state_bytes(self) -> int:
        """Bytes of a paused finetune at most: weights, momentum and the best epoch's weights."""
        return 3 * self.weights_bytes


def time_bench(
    bench: Bench, space: SearchSpace, clock: Callable[[], float] = perf_counter
) -> Timing:
    """Times probing and finetuning of the smallest recipe on a bench.

    Of a long finetuning epoch a part is run and the rest is in proportion to it. Of probing at
    least one epoch is run.

    Args:
        bench: Its features at depth 0 should be cached.
        space: Gives the recipe, that of its baselines.
        clock: Returns seconds.

    Raises:
        TrialFailure: If training diverges within these few steps.
    """
    recipe = space.baseline(0)
    devices = [bench.device] if bench.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model = bench.model(recipe, seed=0)
        weights = sum(value.nbytes for value in model.state_dict().values())
        hp_epoch_s = _time_probing(bench, recipe, clock)
        _time_finetuning(bench, recipe, 0.0, 0.0, clock)  # the first step of a process is slow
        ft_epoch_s = _time_finetuning(bench, recipe, _TRAIN_S, _VALID_S, clock)
    return Timing(hp_epoch_s, ft_epoch_s, weights)


def _time_probing(bench: Bench, recipe: Recipe, clock: Callable[[], float]) -> float:
    data = bench.probe_data(recipe.reinit_depth)
    seconds = 0.0
    for n_epochs in _HP_EPOCHS:
        run = HeadRun(bench.model(recipe, seed=0), bench.spec.probe)
        times = [clock()]
        told = partial(_note_time, times, clock)
        list(probe(run, data, bench.splits.task, seed=0, tau=n_epochs, on_epoch=told))
        seconds = median(after - before for before, after in pairwise(times))
        if seconds > _LONG_HP_EPOCH_S:
            break
    return seconds


def _note_time(times: list[float], clock: Callable[[], float], _epoch: int) -> None:
    times.append(clock())


def _time_finetuning(
    bench: Bench, recipe: Recipe, train_s: float, valid_s: float, clock: Callable[[], float]
) -> float:
    splits = bench.splits
    on_gpu = bench.device.type == "cuda"
    train = _Watched(splits.train, train_s, clock, on_gpu=on_gpu)
    valid = _Watched(splits.valid, valid_s, clock, on_gpu=on_gpu)
    tuner = Finetuner(
        bench.model(recipe, seed=0),
        train,
        valid,
        splits.task,
        bench.spec.finetune,
        ft_lr=recipe.ft_lr,
        seed=0,
        device=bench.device,
        engine=bench.spec.engine.model_copy(update={"compile": False, "n_processes": 1}),
    )
    next(iter(tuner))
    return train.seconds() + valid.seconds()


class _Watched:
    """A split that gives its batches for some seconds only, at least one of them."""

    def __init__(
        self, split: Split, limit_s: float, clock: Callable[[], float], *, on_gpu: bool
    ) -> None:
        self._split, self._limit_s, self._clock = split, limit_s, clock
        self._on_gpu = on_gpu
        self._took_s, self._n_given = 0.0, 0

    @property
    def targets(self) -> Tensor:
        """All targets."""
        return self._split.targets

    def __len__(self) -> int:
        """Number of all samples."""
        return len(self._split)

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches and watches how long their receiver takes."""
        self._took_s, self._n_given, began = 0.0, 0, self._clock()
        for inputs, targets in self._split.batches(*args, **kwargs):
            yield inputs, targets
            self._n_given += len(inputs)
            if self._on_gpu:
                torch.cuda.synchronize()
            self._took_s = self._clock() - began
            if self._took_s >= self._limit_s:
                return

    def seconds(self) -> float:
        """Returns the seconds that all samples would have taken."""
        return self._took_s * len(self._split) / max(1, self._n_given)
