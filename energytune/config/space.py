"""The search space: which recipes exist, and the protocol they are trained under."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from energytune.config.grid import snapshot_epochs
from energytune.config.recipe import DIMENSIONS, HeadArch, Recipe
from energytune.config.stages import FinetuneConfig, ProbeConfig

__all__ = [
    "DepthRange",
    "FtLrRange",
    "HeadChoices",
    "SearchSpace",
    "SmoothingRange",
    "TauRange",
]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class _Range(BaseModel):
    """A closed interval whose ends are in order."""

    model_config = _FROZEN
    low: Any
    high: Any

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(
                f"low must not exceed high, got low = {self.low:g} > high = {self.high:g}"
            )
        return self


class TauRange(_Range):
    """Head-probing epochs, sampled on a log(1 + tau) scale.

    Attributes:
        low: Fewest epochs, >= 0.
        high: Most epochs, long enough that HP-train-accuracy converges.
        snap: Whether tau is one of the probe's snapshot epochs (0, 1, 2, 3, 4, 6, 8, 11, ...).
    """

    low: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(ge=0, le=1_000_000)]
    snap: bool = True


class SmoothingRange(_Range):
    """Label smoothing in head probing, each bound in [0, 1).

    Attributes:
        low: Smallest smoothing.
        high: Largest smoothing.
        step: Distance of neighbouring values; None is continuous.
    """

    low: Annotated[float, Field(ge=0, lt=1)]
    high: Annotated[float, Field(ge=0, lt=1)]
    step: Annotated[float, Field(gt=0, lt=1)] | None = None


class DepthRange(_Range):
    """Number of last blocks that are reinitialised, each bound >= 0."""

    low: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(ge=0)]


class FtLrRange(_Range):
    """Peak learning rate of finetuning.

    Attributes:
        low: Smallest rate, > 0.
        high: Largest rate.
        log: Whether it is sampled on a log scale.
        default: The baselines' rate; None is the geometric mean of the bounds.
    """

    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    log: bool = True
    default: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _default_within(self) -> Self:
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ValueError(
                f"default must lie in [low, high] = [{self.low:g}, {self.high:g}], "
                f"got {self.default:g}"
            )
        return self


class HeadChoices(BaseModel):
    """Head architectures to choose from; the first one is the baselines'."""

    model_config = _FROZEN
    choices: Annotated[tuple[HeadArch, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _no_duplicates(self) -> Self:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError(f"choices must differ, got {list(self.choices)}")
        return self


def _everything(kind: type[BaseModel]) -> Any:
    """Returns a before-validator that reads a bare value ``v`` as a fixed dimension."""

    def widen(value: Any) -> Any:
        if isinstance(value, dict | BaseModel):
            return value
        if kind is HeadChoices:
            return {"choices": value if isinstance(value, list | tuple) else (value,)}
        return {"low": value, "high": value}

    return widen


class SearchSpace(BaseModel):
    """Frozen search space; read from YAML by :func:`energytune.config.load_space`.

    Each dimension is a range, or a bare value that fixes it. Ranges are documented with unit
    and bounds in ``search_spaces/README.md``.

    Attributes:
        name: Name of the space.
        description: One line on what it is for.
        tau: Head-probing epochs.
        head_arch: Head architectures.
        label_smoothing: Smoothing in head probing.
        reinit_depth: Number of reinitialised last blocks.
        ft_lr: Peak learning rate of finetuning.
        probe: Optimiser of head probing.
        finetune: Schedule and optimiser of finetuning.
    """

    model_config = _FROZEN

    name: str = "custom"
    description: str = ""
    tau: TauRange
    head_arch: HeadChoices = HeadChoices(choices=("linear", "mlp"))
    label_smoothing: SmoothingRange = SmoothingRange(low=0.0, high=0.0)
    reinit_depth: DepthRange = DepthRange(low=0, high=0)
    ft_lr: FtLrRange
    probe: ProbeConfig = ProbeConfig()
    finetune: FinetuneConfig = FinetuneConfig()

    @model_validator(mode="before")
    @classmethod
    def _bare_values(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name in DIMENSIONS:
            if name in data:
                kind = cls.model_fields[name].annotation
                data[name] = _everything(kind)(data[name])  # type: ignore[arg-type]
        return data

    def baseline(self, tau: int) -> Recipe:
        """Returns the baseline with ``tau``: all else at the plainest value of the space."""
        rates = self.ft_lr
        ft_lr = rates.default if rates.default is not None else math.sqrt(rates.low * rates.high)
        return Recipe(
            tau=tau,
            head_arch=self.head_arch.choices[0],
            label_smoothing=self.label_smoothing.low,
            reinit_depth=self.reinit_depth.low,
            ft_lr=float(f"{ft_lr:.4g}"),
        ).canonical()

    def fixed(self) -> dict[str, Any]:
        """Returns the dimensions that have a single value, with that value."""
        values: dict[str, Any] = {}
        for name in DIMENSIONS:
            dimension = getattr(self, name)
            if isinstance(dimension, HeadChoices):
                if len(dimension.choices) == 1:
                    values[name] = dimension.choices[0]
            elif dimension.low == dimension.high:
                values[name] = dimension.low
        return values

    def taus(self) -> list[int]:
        """Returns the taus that can be sampled if ``tau.snap``, else the probe's grid."""
        return sorted(
            {self.tau.low, *(e for e in snapshot_epochs(self.tau.high) if e >= self.tau.low)}
        )
