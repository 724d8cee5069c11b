"""Which layer of a backbone makes a number that is not finite, and the error that says so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from energytune.data import Split
from energytune.errors import DataError
from energytune.models import TaskModel

__all__ = ["first_non_finite_layer", "non_finite_error"]


def first_non_finite_layer(model: TaskModel, inputs: Tensor) -> str | None:
    """Returns path and class of the first module whose output is not finite.

    A module ends before those that hold it, so the innermost one is named.

    Args:
        model: Its prefix runs once, without gradients and in the mode that it is in.
        inputs: (B, ...) on the model's device.

    Returns:
        For example ``"blocks.2.act (ReLU)"``; None if every output is finite.
    """
    found: list[str] = []
    names = {module: name for name, module in model.backbone.named_modules()}

    def look(module: nn.Module, _inputs: Any, output: Any) -> None:
        if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            found.append(f"{names[module] or 'the backbone itself'} ({type(module).__name__})")

    handles = [module.register_forward_hook(look) for module in names]
    try:
        with torch.no_grad():
            model.features(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def non_finite_error(
    model: TaskModel, split: Split, indices: Tensor, *, name: str, augment: bool, seed: int
) -> DataError:
    """Returns the error for features that are not finite: which sample, and which layer.

    Args:
        model: Gave the features; on its device, in evaluation mode.
        split: The samples.
        indices: (B,) int64: among these the samples are looked for, one by one.
        name: The split's name.
        augment: Whether the images were augmented.
        seed: Seed of the augmentation.
    """
    device = next(model.parameters()).device
    for index in indices.tolist():
        order = torch.tensor([index])
        for inputs, _ in split.batches(1, order=order, augment=augment, seed=seed):
            inputs = inputs.to(device)
            with torch.no_grad():
                finite = bool(torch.isfinite(model.features(inputs)).all())
            if not finite:
                return DataError(_message(model, inputs, f"sample {index} of {name}"))
    return DataError(
        f"Non-finite features: the backbone gives NaN or infinity for a batch of {name}, yet for "
        "none of its samples alone. Check that it is deterministic in evaluation mode."
    )


def _message(model: TaskModel, inputs: Tensor, sample: str) -> str:
    if not bool(torch.isfinite(inputs).all()):
        return f"Non-finite input: {sample} holds NaN or infinity. Repair or remove it."
    layer = first_non_finite_layer(model, inputs)
    where = f"first in the output of {layer}" if layer else "outside of its modules"
    return (
        f"Non-finite features: the backbone gives NaN or infinity for {sample}, {where}. Check "
        "its weights and what it expects of its inputs."
    )
