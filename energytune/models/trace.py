"""Watching, stopping and resuming a network's forward pass at one of its modules."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from energytune.errors import CutError

__all__ = ["Recording", "Step", "frozen_eval", "record", "resume_at", "stop_at", "watch"]


@dataclass(frozen=True)
class Step:
    """A module was entered or left; ``path`` is its name in the network, "" for the root."""

    kind: Literal["enter", "leave"]
    path: str


@dataclass(frozen=True)
class Recording:
    """What a forward pass computed before it reached the cut.

    Attributes:
        x: The input of the network, of batch size 1 unless the cut is bound to another.
        outputs: By path, the outputs of each call that had ended before the cut and was not made
            by another such call; in order.
    """

    x: Tensor
    outputs: dict[str, list[Any]]

    def to(self, device: torch.device) -> Recording:
        """Returns the recording with all tensors on ``device``."""
        return Recording(self.x.to(device), _map(self.outputs, lambda t: t.to(device)))

    def detach(self) -> Recording:
        """Returns the recording with all tensors out of the gradient's reach."""
        return Recording(self.x, _map(self.outputs, Tensor.detach))


class _StopAtCut(Exception):  # noqa: N818 - a jump out of a forward pass, not an error
    """Leaves a forward pass with what flows through the cut."""

    def __init__(self, z: Tensor) -> None:
        self.z = z


@contextmanager
def frozen_eval(module: nn.Module) -> Generator[None, None, None]:
    """Puts every module into evaluation mode and afterwards back into what it was in."""
    were_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in were_training:
            part.training = True


def watch(module: nn.Module, x: Tensor) -> list[Step]:
    """Returns in which order the modules are entered and left for an input ``x``."""
    steps: list[Step] = []

    def enter(path: str) -> None:
        steps.append(Step("enter", path))

    def leave(path: str, output: Any) -> None:
        steps.append(Step("leave", path))

    with torch.no_grad(), frozen_eval(module), _hooked(module, enter, leave):
        module(x)
    return steps


def record(module: nn.Module, cut: nn.Module, x: Tensor) -> tuple[Recording, Tensor]:
    """Runs the network on ``x`` (N, ...) in evaluation mode up to the cut and records it.

    Returns:
        The recording, and what flowed through the cut.
    """
    outputs: dict[str, list[Any]] = {}
    running: list[tuple[str, dict[str, int]]] = []

    def enter(path: str) -> None:
        running.append((path, {known: len(calls) for known, calls in outputs.items()}))

    def leave(path: str, output: Any) -> None:
        _, before = running.pop()
        # calls made by this call are not made again when it is replayed
        for known in list(outputs):
            del outputs[known][before.get(known, 0) :]
        outputs.setdefault(path, []).append(output)

    with frozen_eval(module), _hooked(module, enter, leave):
        z = stop_at(module, cut, x)
    return Recording(x, {path: calls for path, calls in outputs.items() if calls}), z


def stop_at(module: nn.Module, cut: nn.Module, x: Tensor) -> Tensor:
    """Runs the network on ``x`` up to the input of ``cut`` and returns that input.

    Raises:
        CutError: If it is not a single tensor, or the cut is never reached.
    """

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        if not args or not isinstance(args[0], Tensor):
            kind = type(args[0]).__name__ if args else "keyword argument"
            raise CutError(f"the input of {type(cut).__name__} at the cut is a {kind}, no tensor")
        raise _StopAtCut(args[0])

    handle = cut.register_forward_pre_hook(stop)
    try:
        module(x)
    except _StopAtCut as stopped:
        return stopped.z
    finally:
        handle.remove()
    raise CutError(f"the forward pass never reached {type(cut).__name__}")


def resume_at(module: nn.Module, cut: nn.Module, z: Tensor, recording: Recording) -> Tensor:
    """Returns the network's output as if ``z`` had just flowed into ``cut``.

    The forward pass runs on the recorded input, as a rule of batch size 1, and modules before the
    cut give back what was recorded, so that only what comes after the cut costs time.
    """
    parts = {path: module.get_submodule(path) for path in recording.outputs}
    own = {
        path: part.__dict__["forward"] for path, part in parts.items() if "forward" in vars(part)
    }

    def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        handle.remove()
        return (z, *args[1:])

    handle = cut.register_forward_pre_hook(enter)
    for path, part in parts.items():
        part.forward = _replay(part.forward, recording.outputs[path])
    try:
        output: Tensor = module(recording.x)
    finally:
        handle.remove()
        for path, part in parts.items():
            del part.forward
            if path in own:
                part.forward = own[path]
    return output


def _replay(forward: Callable[..., Any], outputs: list[Any]) -> Callable[..., Any]:
    """Returns a ``forward`` that first gives back ``outputs`` one by one."""
    left = iter(outputs)
    nothing = object()

    def replay(*args: Any, **kwargs: Any) -> Any:
        output = next(left, nothing)
        return forward(*args, **kwargs) if output is nothing else output

    return replay


@contextmanager
def _hooked(
    module: nn.Module, enter: Callable[[str], None], leave: Callable[[str, Any], None]
) -> Generator[None, None, None]:
    """Calls ``enter(path)`` and ``leave(path, output)`` for every module call inside."""
    handles = []
    for path, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(lambda *_, path=path: enter(path)))
        handles.append(part.register_forward_hook(lambda *_, path=path: leave(path, _[-1])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Returns a nest of lists, tuples and dicts with ``function`` applied to every tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _map(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_map(item, function) for item in value)
    return value
