"""What every dataset becomes: train, valid, and a test split under seal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from energytune.errors import DataError
from energytune.tasks import Task

__all__ = ["HeldOut", "Split", "Splits", "TensorSplit"]

_BLOCK_ELEMENTS = 1 << 22  # gather at most 16 MB of float32 ahead of its use


class Split(Protocol):
    """A fixed sequence of (input, target); most inputs are images."""

    @property
    def targets(self) -> Tensor:
        """What the task wants, in the split's own order.

        Class indices, (N,) int64; labels, (N, L) float32, NaN where missing; or classes of
        pixels, (N, H, W) of a whole-number type.
        """
        ...

    def __len__(self) -> int:
        """Number of samples, N."""
        ...

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (images, targets) on the CPU; the last batch may be smaller.

        Args:
            batch_size: Samples a batch, >= 1.
            order: Indices to yield, (M,) int64: a permutation or a subset; None is in order.
            augment: Whether images pass the training transform instead of the evaluation one.
            seed: Seed of the augmentation. The same seed and index give the same image, with
                any number of worker processes.

        Yields:
            images: float32, (B, C, H, W), (B, 64) for the embedded digits, or (B, S, F) for
                molecules of S atoms.
            targets: (B, ...), as in ``targets``; of pixels those of the images given out.
        """
        ...


class TensorSplit:
    """A split that lies in memory, ready for the network; it has no augmentation.

    Batches are views where that is possible, so don't write into them.

    Attributes:
        images: float32, (N, ...).
    """

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        """Takes images, (N, ...) float32, and their targets, (N,), (N, L) or (N, H, W).

        Raises:
            DataError: The lengths differ.
        """
        if images.ndim < 2 or targets.ndim < 1 or images.shape[0] != targets.shape[0]:
            raise DataError(
                "A split needs one target for each image: got images of shape "
                f"{tuple(images.shape)} and targets of shape {tuple(targets.shape)}."
            )
        self.images = images.to(torch.float32).contiguous()
        kept = targets.is_floating_point() or (targets.dtype == torch.uint8 and targets.ndim > 1)
        self._targets = (targets if kept else targets.to(torch.int64)).contiguous()

    @property
    def targets(self) -> Tensor:
        """Targets: floats and the bytes of pixels as given, other whole numbers as int64."""
        return self._targets

    def __len__(self) -> int:
        """Number of samples."""
        return self.images.shape[0]

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches as :class:`Split` says; ``augment`` and ``seed`` have no effect."""
        if order is None:
            yield from _views(self.images, self._targets, batch_size)
            return
        # One gather for many batches: for small images a gather a batch costs more than its copy.
        per_image = max(1, self.images[:1].numel())
        block = max(1, _BLOCK_ELEMENTS // (per_image * batch_size)) * batch_size
        for start in range(0, len(order), block):
            indices = order[start : start + block]
            images = self.images.index_select(0, indices)
            yield from _views(images, self._targets.index_select(0, indices), batch_size)


def _views(images: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(images), size):
        yield images[start : start + size], targets[start : start + size]


class HeldOut:
    """A test split under seal: it is opened by name, with a reason, and that is counted.

    It is no :class:`Split`, so that code which selects or trains can't take it by mistake.
    """

    def __init__(self, split: Split) -> None:
        """Seals ``split``."""
        self._split = split
        self._reasons: list[str] = []

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._split)

    def __repr__(self) -> str:
        return f"HeldOut({len(self)} samples, opened {self.n_opened} times)"

    @property
    def n_opened(self) -> int:
        """How often it was opened in this process."""
        return len(self._reasons)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was opened, oldest first."""
        return tuple(self._reasons)

    def open(self, reason: str) -> Split:
        """Gives the split out.

        Args:
            reason: What it is read for, for example ``"confirm t012 on seed 1"``.
        """
        self._reasons.append(reason)
        return self._split


@dataclass(frozen=True)
class Splits:
    """One dataset, ready for a search.

    Attributes:
        name: The dataset's name.
        train: Trained on.
        valid: Selected on.
        test: Reported on, under seal.
        task: What a target is.
        class_names: One name a class, in the order of the targets.
        fingerprint: sha256 (hex) over images and targets of train and valid, the identity of
            test, and the transforms. Equal fingerprints give equal features.
        protocol: Short text with the hashes of valid and test. Scores of two searches may be
            compared if their protocols are equal.
        hashes: sha256 (hex) of ``train``, ``valid`` and ``test`` alone.
        preprocessing: How a raw input becomes the network's, as JSON values; it travels inside
            a registered model. Empty where inputs come ready for the network.
    """

    name: str
    train: Split
    valid: Split
    test: HeldOut
    task: Task
    class_names: tuple[str, ...]
    fingerprint: str
    protocol: str
    hashes: dict[str, str]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
