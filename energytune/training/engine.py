"""The settings of :class:`~energytune.config.EngineConfig`, applied to a network on a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from energytune.config import EngineConfig
from energytune.errors import TrialFailure

__all__ = ["autocast", "forward_of", "laid_out", "place", "training_forward"]

_COMPILER: str = "inductor"

Forward = Callable[[Tensor], Tensor]


def autocast(engine: EngineConfig, device: torch.device) -> AbstractContextManager[object]:
    """Returns the context in which forward passes run."""
    if engine.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def laid_out(module: nn.Module, engine: EngineConfig) -> None:
    """Lays the weights of convolutions out in memory as the engine says, in place."""
    if engine.channels_last:
        module.to(memory_format=torch.channels_last)


def place(
    inputs: Tensor, targets: Tensor, device: torch.device, engine: EngineConfig | None = None
) -> tuple[Tensor, Tensor]:
    """Returns a batch on the device, without waiting for the copy.

    Pinned memory is what makes the copy to a GPU asynchronous, so a batch that is not pinned yet
    is. On the CPU the batch is returned as it is, but for the layout.
    """
    if device.type == "cuda":
        inputs, targets = (
            t.pin_memory() if t.device.type == "cpu" and not t.is_pinned() else t
            for t in (inputs, targets)
        )
    inputs = inputs.to(device, non_blocking=True)
    if engine is not None and engine.channels_last and inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, targets.to(device, non_blocking=True)


def forward_of(forward: Forward, engine: EngineConfig, device: torch.device) -> Forward:
    """Returns a forward that computes in the engine's precision and returns float32."""
    if engine.precision == "fp32":
        return forward

    def lowered(inputs: Tensor) -> Tensor:
        with autocast(engine, device):
            outputs = forward(inputs)
        return outputs.float()

    return lowered


def training_forward(model: nn.Module, engine: EngineConfig, device: torch.device) -> Forward:
    """Returns the forward of finetuning: logits (N, K, ...) float32 of inputs (N, ...).

    Only this function is compiled. The module stays what it is, so that the names in its
    ``state_dict`` do, and evaluation does not compile a second time.

    Raises:
        TrialFailure: When it is called and torch can't compile the network.
    """
    if not engine.compile:
        return forward_of(model, engine, device)
    # What earlier trials compiled counts against the number of variants of one function.
    torch.compiler.reset()
    # A batch has one of two sizes, the full and the last: each gets code of its own.
    compiled = torch.compile(model.forward, dynamic=False, backend=_COMPILER)

    def guarded(inputs: Tensor) -> Tensor:
        from torch._dynamo.exc import TorchDynamoException

        try:
            outputs: Tensor = compiled(inputs)
        except TorchDynamoException as error:
            first = str(error).strip().split("\n", 1)[0]
            raise TrialFailure(
                f"torch.compile can't compile the network: {first} It needs a C++ compiler on "
                "every machine; search without --compile."
            ) from error
        return outputs

    return forward_of(guarded, engine, device)
