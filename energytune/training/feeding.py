"""Batches on the device where they are used.

On the CPU they are the split's own. On a GPU a split that lies in memory is copied there once and
gathered there; photographs come from their loader as bytes in pinned memory, and are flipped and
normalised on the GPU; all else is pinned and copied. No copy is waited for. What comes out is the
same in every way, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from energytune.config import EngineConfig
from energytune.data import Split, TensorSplit
from energytune.training.engine import place

__all__ = ["PixelSplit", "device_batches", "finished_batches", "resident_batches"]

_RESIDENT_SHARE = 16
"""Of a GPU's memory a split may take so much."""

Batches = Iterator[tuple[Tensor, Tensor, Tensor]]
"""Inputs and targets on the device, and the targets on the CPU."""


@runtime_checkable
class PixelSplit(Protocol):
    """A split of images that gives their bytes, to be finished on the device."""

    def pixel_batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields pixels, flips and targets, as ``DatasetSplit`` says."""
        ...

    def finish(self, pixels: Tensor, flips: Tensor) -> Tensor:
        """Returns the images."""
        ...


def device_batches(
    split: Split,
    batch_size: int,
    *,
    device: torch.device,
    engine: EngineConfig | None = None,
    order: Tensor | None = None,
    augment: bool = False,
    seed: int = 0,
) -> Batches:
    """Yields the batches of a split.

    Args:
        split: The samples.
        batch_size: Samples a batch, >= 1.
        device: Where they are wanted.
        engine: For the layout in memory; None leaves it.
        order: Indices, (M,) int64 on the CPU; None is all in order.
        augment: Whether images are augmented.
        seed: Of the augmentation.

    Yields:
        inputs: On the device.
        targets: On the device.
        labels: The targets on the CPU, where they can be counted without waiting.
    """
    if device.type == "cuda":
        if type(split) is TensorSplit and _fits(split, device):
            yield from resident_batches(split, batch_size, order, device, engine)
            return
        if isinstance(split, PixelSplit):
            yield from finished_batches(split, batch_size, order, augment, seed, device, engine)
            return
    for inputs, targets in split.batches(batch_size, order=order, augment=augment, seed=seed):
        yield *place(inputs, targets, device, engine), targets


def finished_batches(
    split: PixelSplit,
    batch_size: int,
    order: Tensor | None,
    augment: bool,
    seed: int,
    device: torch.device,
    engine: EngineConfig | None = None,
) -> Batches:
    """Yields batches that cross to the device as bytes; see :func:`device_batches`."""
    for pixels, flips, targets in split.pixel_batches(
        batch_size, order=order, augment=augment, seed=seed
    ):
        images = split.finish(
            pixels.to(device, non_blocking=True), flips.to(device, non_blocking=True)
        )
        yield *place(images, targets, device, engine), targets


def resident_batches(
    split: TensorSplit,
    batch_size: int,
    order: Tensor | None,
    device: torch.device,
    engine: EngineConfig | None = None,
) -> Batches:
    """Yields batches gathered from a copy on the device; see :func:`device_batches`.

    The copy is made once in a process, and lives as long as the split.
    """
    copies = _residents.setdefault(split, {})
    if device not in copies:
        copies[device] = (split.images.to(device), split.targets.to(device))
    images, targets = copies[device]
    if order is None:
        order = torch.arange(len(split))
    labels = split.targets.index_select(0, order)
    everywhere = (order.to(device), labels)
    for indices, counted in zip(*(torch.split(t, batch_size) for t in everywhere), strict=True):
        batch = images.index_select(0, indices), targets.index_select(0, indices)
        yield *place(*batch, device, engine), counted


_residents: WeakKeyDictionary[TensorSplit, dict[torch.device, tuple[Tensor, Tensor]]] = (
    WeakKeyDictionary()
)


def _fits(split: TensorSplit, device: torch.device) -> bool:
    """Returns whether a split may lie on a GPU for good."""
    n_bytes = split.images.nbytes + split.targets.nbytes
    return n_bytes * _RESIDENT_SHARE <= torch.cuda.get_device_properties(device).total_memory
