"""Which heads an energy map shows: a grid in the dimensions of head probing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from energytune.config.problems import describe_problems
from energytune.config.recipe import HeadArch
from energytune.config.space import SearchSpace
from energytune.config.stages import ProbeConfig
from energytune.errors import ConfigError

__all__ = ["MapHead", "ProbeGrid", "grid_of_space", "probe_grid"]

_MAX_SMOOTHINGS = 5

Smoothing = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Depth = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, order=True)
class MapHead:
    """One head of an energy map; its trajectory gives every tau.

    Attributes:
        reinit_depth: Number of last blocks that are reinitialised and probed with the head.
        head_arch: ``"linear"`` or ``"mlp"``.
        label_smoothing: eps in [0, 1).
        lr: Probing rate, > 0.
        weight_decay: L2 penalty, >= 0.
        seed: Seed of the initialisation.
    """

    reinit_depth: int
    head_arch: HeadArch
    label_smoothing: float
    lr: float
    weight_decay: float
    seed: int

    def label(self) -> str:
        """Returns a short text that tells heads apart: ``"mlp ls=0.1 k=1 lr=0.03"``."""
        parts = [self.head_arch, f"ls={self.label_smoothing:g}"]
        if self.reinit_depth:
            parts.append(f"k={self.reinit_depth}")
        parts.append(f"lr={self.lr:g}")
        if self.weight_decay:
            parts.append(f"wd={self.weight_decay:g}")
        return " ".join([*parts, f"seed={self.seed}"])


class ProbeGrid(BaseModel):
    """All heads of an energy map: the product of its dimensions.

    Attributes:
        head_archs: Head architectures.
        label_smoothings: Smoothings in head probing, each in [0, 1).
        reinit_depths: Numbers of reinitialised last blocks, each >= 0.
        lrs: Probing rates, each > 0.
        weight_decays: L2 penalties, each >= 0.
        seeds: Seeds of the initialisation; the first one also orders the batches of all heads.
        tau_max: Last probing epoch, >= 0.
        n_converged: A head stops when its HP-train-accuracy is the same in so many snapshots in
            a row, >= 2; None probes every head up to ``tau_max``.
        probe: Momentum, batch size, schedule and views of all heads; its ``lr`` and
            ``weight_decay`` are not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_archs: Annotated[tuple[HeadArch, ...], Field(min_length=1)] = ("linear", "mlp")
    label_smoothings: Annotated[tuple[Smoothing, ...], Field(min_length=1)] = (0.0,)
    reinit_depths: Annotated[tuple[Depth, ...], Field(min_length=1)] = (0,)
    lrs: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.03,)
    weight_decays: Annotated[tuple[Decay, ...], Field(min_length=1)] = (0.0,)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    tau_max: Annotated[int, Field(ge=0, le=1_000_000)]
    n_converged: Annotated[int, Field(ge=2)] | None = None
    probe: ProbeConfig = ProbeConfig()

    @field_validator(
        "head_archs", "label_smoothings", "reinit_depths", "lrs", "weight_decays", "seeds"
    )
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(values))

    def heads(self) -> list[MapHead]:
        """Returns all heads, those of one depth and architecture together."""
        return list(self._heads())

    def config(self, head: MapHead) -> ProbeConfig:
        """Returns the optimiser's settings of one head."""
        return self.probe.model_copy(update={"lr": head.lr, "weight_decay": head.weight_decay})

    def _heads(self) -> Iterator[MapHead]:
        for depth, arch in product(sorted(self.reinit_depths), self.head_archs):
            for smoothing, lr, decay, seed in product(
                self.label_smoothings, self.lrs, self.weight_decays, self.seeds
            ):
                yield MapHead(depth, arch, smoothing, lr, decay, seed)


def grid_of_space(space: SearchSpace, **wanted: Any) -> ProbeGrid:
    """Returns the grid of a search space's probing dimensions.

    Args:
        space: Gives what is not asked for: heads, smoothings (a continuous range gives five), the
            smallest depth, rate and penalty of its probe, and its largest tau.
        **wanted: Fields of :class:`ProbeGrid`; None is not asked for.

    Raises:
        ConfigError: If a value breaks a rule; the message has all of them.
    """
    defaults: dict[str, Any] = {
        "head_archs": space.head_arch.choices,
        "label_smoothings": _smoothings(space),
        "reinit_depths": (space.reinit_depth.low,),
        "lrs": (space.probe.lr,),
        "weight_decays": (space.probe.weight_decay,),
        "tau_max": space.tau.high,
        "probe": space.probe,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    return probe_grid(**(defaults | given))


def probe_grid(**values: Any) -> ProbeGrid:
    """Returns a grid.

    Raises:
        ConfigError: If a value breaks a rule; the message has all of them.
    """
    try:
        return ProbeGrid.model_validate(values)
    except ValidationError as error:
        problems = describe_problems(ProbeGrid, error, values)
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"The grid of heads to probe breaks rules:{lines}") from None


def _smoothings(space: SearchSpace) -> tuple[float, ...]:
    low, high, step = (getattr(space.label_smoothing, name) for name in ("low", "high", "step"))
    if low == high:
        return (low,)
    n_steps = _MAX_SMOOTHINGS - 1 if step is None else int((high - low) / step + 1e-9)
    width = (high - low) / n_steps if step is None else step
    return tuple(round(low + i * width, 6) for i in range(n_steps + 1))
