"""How trials compute: what makes them faster or smaller, and is never searched."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EngineConfig"]


class EngineConfig(BaseModel):
    """How the networks of a search compute; the same for all of its trials, and recorded.

    The defaults change nothing. Weights, momentum, loss and the update are float32 in any case.

    Attributes:
        precision: ``"fp32"``, or ``"bf16"``: forward and backward passes run under bfloat16
            autocast, in finetuning, in validation, and in the frozen part that gives the features
            (which are then other features, cached apart). An activation keeps 8 bits of mantissa
            instead of 24, so curves differ from float32 by more than rounding, and less than by
            the seed. The confirmed model is tested in float32, as it is served. With ``"fp32"``
            convolutions on a GPU may use TF32, as torch does by itself.
        channels_last: Whether images and the weights of convolutions lie in memory with the
            channels last in finetuning. It changes the order of sums, so rounding and no more.
        compile: Whether the training forward of finetuning goes through ``torch.compile``. Fused
            operations round differently, and dropout draws other numbers. Validation and probing
            are not compiled. It needs a C++ compiler and takes up to a minute a trial, so it is
            for large networks and long finetunes.
        n_processes: Processes that one finetune computes with, each on a share of every batch,
            >= 1. A search sets it to ``gpus_per_trial`` where that is a whole number above 1. Sums
            are made in another order, dropout draws other numbers in each process, and batch
            normalisation takes its statistics over all shares on GPUs, and over each share on
            CPUs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    n_processes: int = Field(default=1, ge=1)

    def label(self) -> str:
        """Returns what differs from the defaults, for a person; empty if nothing does."""
        words = ["bf16"] if self.precision == "bf16" else []
        words += ["channels last"] if self.channels_last else []
        words += ["compiled"] if self.compile else []
        words += [f"{self.n_processes} processes a trial"] if self.n_processes > 1 else []
        return ", ".join(words)

    def cache_parts(self) -> dict[str, str]:
        """Returns what of it belongs to the content of cached features; empty for float32."""
        return {} if self.precision == "fp32" else {"precision": self.precision}

    def on_gpus(self, n_gpus: float) -> EngineConfig:
        """Returns the same for trials that hold ``n_gpus`` GPUs: one process on each."""
        return self.model_copy(update={"n_processes": int(n_gpus)}) if n_gpus > 1 else self
