"""A split over any map-style dataset of (image, class index), read batch by batch."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from energytune.config import InputConfig
from energytune.data.targets import collect_targets
from energytune.data.transforms import ImageTransform, PixelTransform, finish_pixels, is_ready
from energytune.errors import DataError
from energytune.seeds import derive_seed

__all__ = ["DatasetSplit", "default_loader_workers", "file_of"]

# index of the sample; seed of its augmentation, None is without; whether bytes will do
_Key = tuple[int, int | None, bool]
_Sample = tuple[int, Tensor, bool]  # its index, its image, and whether that is still to be flipped
_MAX_LOADER_WORKERS = 8


def default_loader_workers() -> int:
    """Returns how many processes read images for one trial: none where there is no GPU.

    On a CPU the network takes far longer than its images, and both want the same cores.
    """
    if not torch.cuda.is_available():
        return 0
    return max(0, min(_MAX_LOADER_WORKERS, len(os.sched_getaffinity(0)) - 1))


class DatasetSplit:
    """A split over a map-style dataset; images pass a transform when they are read.

    With worker processes, these are started once and kept from epoch to epoch.

    Args:
        dataset: Its items are (image, class index); images in a form that the transforms take.
        eval_transform: Makes the input of an image for evaluation.
        train_transform: The same with augmentation.
        loader_workers: Processes that read images; 0 reads in this one; None chooses.
        name: For messages, for example ``"the train split of dataset 'stl10'"``.
        targets: Class indices, (N,) int64, if they are known; else they are collected.

    Raises:
        DataError: A target is no class index.
    """

    def __init__(
        self,
        dataset: Any,
        eval_transform: ImageTransform,
        train_transform: ImageTransform,
        loader_workers: int | None = None,
        *,
        name: str = "the dataset",
        targets: Tensor | None = None,
    ) -> None:
        self._items = _Items(dataset, eval_transform, train_transform)
        self._name = name
        self._n_workers = default_loader_workers() if loader_workers is None else loader_workers
        self._targets = collect_targets(dataset, name) if targets is None else targets
        self._loaders: dict[bool, DataLoader[Any]] = {}  # by whether they pin

    @property
    def targets(self) -> Tensor:
        """Class indices, (N,) int64."""
        return self._targets

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._targets)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the worker processes behind: a copy starts its own."""
        return {**self.__dict__, "_loaders": {}}

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches as :class:`energytune.data.Split` says.

        Raises:
            DataError: An image can't be read, is not finite, or differs in shape from the others
                of its batch; names the split, the index, and the file where there is one.
        """
        keys = self._keys(order, seed if augment else None, as_pixels=False)
        for batch in self._read(keys, batch_size, pin=False):
            yield batch.images, self._targets.index_select(0, batch.indices)

    def pixel_batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields what :meth:`finish` makes the batches of :meth:`batches` of, in pinned memory.

        Yields:
            pixels: uint8 (B, C, H, W); or float32, where images came ready for the network or the
                transform can't be parted.
            flips: (B,) bool, which are still to be flipped.
            targets: (B,).

        Raises:
            DataError: As :meth:`batches` does.
        """
        keys = self._keys(order, seed if augment else None, as_pixels=True)
        for batch in self._read(keys, batch_size, pin=True):
            yield batch.images, batch.flips, self._targets.index_select(0, batch.indices)

    def finish(self, pixels: Tensor, flips: Tensor) -> Tensor:
        """Returns images, float32 (B, C, H, W), of what :meth:`pixel_batches` gave, where it is."""
        return self._items.finish(pixels, flips)

    def _keys(self, order: Tensor | None, draw: int | None, *, as_pixels: bool) -> list[_Key]:
        indices = list(range(len(self))) if order is None else order.tolist()
        return [(index, draw, as_pixels) for index in indices]

    def _read(self, keys: list[_Key], batch_size: int, *, pin: bool) -> Iterator[_Batch]:
        # Taken out while in use, so that a second iteration at the same time gets its own.
        loader = self._loaders.pop(pin, None) or self._new_loader(pin=pin)
        feed = cast(_Feed, loader.batch_sampler)
        feed.keys, feed.batch_size = keys, batch_size
        broken: _Broken | None = None
        try:
            for batch in loader:
                if isinstance(batch, _Broken):
                    broken = batch
                    break
                yield batch
        finally:
            if broken is None:
                self._loaders[pin] = loader
        if broken is not None:
            # Ends its processes here. Kept alive by the traceback, it would be found by the garbage
            # collector, and torch then waits five seconds for each of them.
            del loader
            raise DataError(self._told(broken))

    def _told(self, broken: _Broken) -> str:
        """Returns the message for a sample that can't be used, with its file if it has one."""
        file = file_of(self._items.dataset, broken.index)
        if file is None:
            return f"Sample {broken.index} of {self._name} {broken.reason}"
        reason = broken.reason.rstrip(".")
        return (
            f"Sample {broken.index} of {self._name} ({file}) {reason}. Repair or remove that file."
        )

    def _new_loader(self, *, pin: bool) -> DataLoader[Any]:
        return DataLoader(
            self._items,
            batch_sampler=_Feed(),
            num_workers=self._n_workers,
            persistent_workers=self._n_workers > 0,
            collate_fn=self._items.collate,
            pin_memory=pin and torch.cuda.is_available(),
            # Its own stream: else each epoch would draw from the global one.
            generator=torch.Generator(),
        )


def file_of(dataset: Any, index: int) -> Path | None:
    """Returns the file of a sample; None if the dataset does not say.

    Our own sources have a method ``path``; torchvision's folder datasets a list of (path, target).
    """
    while isinstance(dataset, Subset):
        dataset, index = dataset.dataset, dataset.indices[index]
    try:
        if callable(getattr(dataset, "path", None)):
            found = dataset.path(index)
        else:
            samples = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)
            found = samples[index][0] if samples else dataset._image_files[index]
    except Exception:  # a user's dataset may call anything by these names
        return None
    return Path(found) if isinstance(found, str | os.PathLike) else None


class _Feed(Sampler[list[_Key]]):
    """What the loader reads next; changed between epochs, while its workers live on."""

    def __init__(self) -> None:
        self.keys: list[_Key] = []
        self.batch_size = 1

    def __iter__(self) -> Iterator[list[_Key]]:
        keys, size = self.keys, self.batch_size
        return (keys[start : start + size] for start in range(0, len(keys), size))

    def __len__(self) -> int:
        return -(-len(self.keys) // self.batch_size)


@dataclass(frozen=True)
class _Batch:
    images: Tensor
    flips: Tensor
    indices: Tensor

    def pin_memory(self) -> _Batch:
        """Is called by the loader, in a thread of its own."""
        return _Batch(self.images.pin_memory(), self.flips.pin_memory(), self.indices)


@dataclass(frozen=True)
class _Broken:
    """Travels from a worker in place of an exception, which would lose its type and brevity."""

    index: int
    reason: str


class _Items(Dataset[Any]):
    """Reads and transforms one sample, in a worker process or here."""

    def __init__(
        self, dataset: Any, eval_transform: ImageTransform, train_transform: ImageTransform
    ) -> None:
        self.dataset = dataset
        self.eval_transform = eval_transform
        self.train_transform = train_transform
        self.finished_as = _normalisation(eval_transform, train_transform)

    def __getitem__(self, key: _Key) -> _Sample | _Broken:
        index, seed, as_pixels = key
        try:
            image = self.dataset[index][0]
            transform = self.eval_transform if seed is None else self.train_transform
            rng = _NO_DRAWS if seed is None else random.Random(derive_seed(seed, index))
            by_bytes = as_pixels and self.finished_as is not None
            if by_bytes and isinstance(transform, PixelTransform) and not is_ready(image):
                return index, *transform.pixels(image, rng)
            return index, transform(image, rng), False
        except DataError as error:
            return _Broken(index, f"is unusable: {error}")
        except Exception as error:  # a user's dataset or an image decoder may raise anything
            return _Broken(index, f"can't be read: {type(error).__name__}: {error}")

    def finish(self, pixels: Tensor, flips: Tensor) -> Tensor:
        """Normalises and flips bytes; what is floating-point is ready."""
        if pixels.is_floating_point() or self.finished_as is None:
            return pixels
        return finish_pixels(pixels, flips, self.finished_as)

    def collate(self, samples: list[_Sample | _Broken]) -> _Batch | _Broken:
        """Makes a batch; where some images came ready for the network, of ready ones."""
        whole = [sample for sample in samples if not isinstance(sample, _Broken)]
        if len({image.dtype for _, image, _ in whole}) > 1:
            samples = [
                sample if isinstance(sample, _Broken) else self._finished(sample)
                for sample in samples
            ]
        return _collate(samples)

    def _finished(self, sample: _Sample) -> _Sample:
        index, pixels, flip = sample
        return index, self.finish(pixels.unsqueeze(0), torch.tensor([flip])).squeeze(0), False


def _normalisation(*transforms: ImageTransform) -> InputConfig | None:
    """Returns what normalises the images of all transforms; None if there is no such thing."""
    configs = [t.config for t in transforms if isinstance(t, PixelTransform)]
    same = len({(config.mean, config.std) for config in configs}) == 1
    return configs[0] if same and len(configs) == len(transforms) else None


_NO_DRAWS = random.Random(0)


def _collate(samples: list[_Sample | _Broken]) -> _Batch | _Broken:
    for sample in samples:
        if isinstance(sample, _Broken):
            return sample
    indices, images, flips = zip(*cast(list[_Sample], samples), strict=True)
    for index, image in zip(indices, images, strict=True):
        if image.shape != images[0].shape:
            return _Broken(
                index,
                f"has the shape {tuple(image.shape)}, another one {tuple(images[0].shape)}: "
                "images must be of one size, or PIL or uint8 for a backbone that says its size.",
            )
    batch = torch.stack(images)
    among = torch.tensor(flips), torch.tensor(indices, dtype=torch.int64)
    if not batch.is_floating_point():
        return _Batch(batch, *among)
    # One sum is cheaper than a mask of the batch, and no finite sum hides a NaN or infinity.
    if not torch.isfinite(batch.sum()):
        for index, image in zip(indices, images, strict=True):
            if not torch.isfinite(image).all():
                return _Broken(index, "holds NaN or infinity. Repair or remove it.")
    return _Batch(batch, *among)
