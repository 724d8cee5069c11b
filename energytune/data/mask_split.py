"""A split over image files and mask files, read batch by batch.

It is a :class:`~energytune.data.DatasetSplit` whose samples carry the mask as one more channel,
so that workers, seeds and broken samples are that split's business.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from energytune.data.dataset_split import DatasetSplit
from energytune.data.joint_transforms import JointEval, JointTrain, JointTransform
from energytune.data.mask_files import MaskPair, check_same_size, read_image, read_mask

__all__ = ["MaskSplit"]


class MaskSplit:
    """A split over pairs of an image and a mask; both pass a joint transform when read.

    Args:
        pairs: The samples.
        class_names: Of the K classes; masks hold 0 to K - 1, and 255 where there is no label.
        eval_transform: Makes input and target for evaluation.
        train_transform: The same with augmentation.
        loader_workers: Processes that read files; 0 reads in this one; None chooses.
        name: For messages, for example ``"the train split of dataset 'voc2012'"``.
    """

    def __init__(
        self,
        pairs: Sequence[MaskPair],
        class_names: Sequence[str],
        eval_transform: JointEval,
        train_transform: JointTrain,
        loader_workers: int | None = None,
        *,
        name: str = "the dataset",
    ) -> None:
        self._pairs = tuple(pairs)
        self._class_names = tuple(class_names)
        self._eval_transform = eval_transform
        self._read = DatasetSplit(
            _Pairs(self._pairs, self._class_names),
            _Packed(eval_transform),
            _Packed(train_transform),
            loader_workers,
            name=name,
            targets=torch.arange(len(self._pairs)),
        )

    @cached_property
    def targets(self) -> Tensor:
        """Masks as evaluation sees them, (N, H, W) uint8, 255 where there is no label.

        All mask files are read when this is first asked for, no image is, and the result stays
        in memory: 385 MB for the 1,464 masks of VOC's train list at 513 x 513.

        Raises:
            DataError: A mask can't be read or holds an unknown class; names the file.
        """
        masks = torch.empty((len(self), *self._eval_transform.config.size[1:]), dtype=torch.uint8)
        for index, pair in enumerate(self._pairs):
            masks[index] = self._eval_transform.mask(read_mask(pair.mask, self._class_names))
        return masks

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._pairs)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the masks behind: a copy reads its own when it needs them."""
        return {name: value for name, value in self.__dict__.items() if name != "targets"}

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches as :class:`energytune.data.Split` says; masks are (B, H, W) uint8.

        With ``augment`` the masks are moved like their images, so they are not rows of
        ``targets``.

        Raises:
            DataError: A file can't be read, a mask holds an unknown class, or image and mask
                differ in size; names the split, the index and the file.
        """
        batches = self._read.batches(batch_size, order=order, augment=augment, seed=seed)
        for packed, _ in batches:
            yield packed[:, :-1].contiguous(), packed[:, -1].to(torch.uint8)


@dataclass(frozen=True)
class _Pairs:
    """Reads one sample's files; the second item stands where a dataset has its target."""

    pairs: tuple[MaskPair, ...]
    class_names: tuple[str, ...]

    def __getitem__(self, index: int) -> tuple[tuple[Image.Image, Image.Image], int]:
        pair = self.pairs[index]
        image, mask = read_image(pair.image), read_mask(pair.mask, self.class_names)
        check_same_size(pair, image.size, mask.size)
        return (image, mask), index


@dataclass(frozen=True)
class _Packed:
    """A joint transform whose mask travels as the last channel, exactly: 8 bits fit a float."""

    transform: JointTransform

    @property
    def id(self) -> str:
        return self.transform.id

    def __call__(self, image: Any, rng: random.Random) -> Tensor:
        picture, labels = image
        pixels, mask = self.transform(picture, labels, rng)
        return torch.cat([pixels, mask.unsqueeze(0).to(torch.float32)])
