"""A user's own datasets as splits."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from energytune.config import InputConfig
from energytune.data.dataset_split import DatasetSplit, file_of
from energytune.data.fingerprint import (
    hash_lines,
    hash_tensors,
    protocol_text,
    splits_fingerprint,
)
from energytune.data.holdout import cut_valid
from energytune.data.preprocessing import describe_images
from energytune.data.splits import HeldOut, Split, Splits, TensorSplit
from energytune.data.targets import as_class_indices, collect_targets
from energytune.data.transforms import (
    EvalTransform,
    ImageTransform,
    ScaleTransform,
    TrainTransform,
    is_ready,
)
from energytune.data.validation import check_not_empty, validate_splits
from energytune.errors import DataError
from energytune.progress import NO_PROGRESS, Progress
from energytune.tasks import Multiclass

__all__ = ["splits_from_datasets"]

_IN_MEMORY_BYTES = 256 << 20
_N_READ_TWICE = 8
_SPLIT_SEED = 0


def splits_from_datasets(
    train: Any,
    valid: Any | None,
    test: Any,
    *,
    name: str = "custom",
    n_classes: int | None = None,
    input_config: InputConfig | None = None,
    loader_workers: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> Splits:
    """Makes splits of map-style datasets with items (image, class index).

    Give 8-bit images (PIL, uint8 arrays or tensors) to have them resized, normalised and, in
    finetuning, randomly cropped and flipped as ``input_config`` says. Floating-point images are
    taken as ready for the network and never augmented; nor are any without ``input_config``,
    which are only scaled to [0, 1]. Every image is read once, so that caches can be addressed by
    content; those that need no augmentation stay in memory up to 256 MB a split.

    Args:
        train: Training set.
        valid: Validation set; None cuts a fifth of each class from train, chosen by the images'
            content, so that it is stable when data are added and keeps copies together.
        test: Test set.
        name: Label of the dataset.
        n_classes: Number of classes; None takes ``train.classes``, else the largest label.
        input_config: What the backbone expects; None if it takes images as they are.
        loader_workers: Processes that read images; None chooses.
        progress: Watches the reading.

    Raises:
        DataError: An empty split, one class only, labels out of range, non-finite pixels, an
            image that can't be read, or a random transform inside a dataset.
    """
    transforms: tuple[ImageTransform, ImageTransform] = (
        (EvalTransform(input_config), TrainTransform(input_config))
        if input_config
        else (ScaleTransform(), ScaleTransform())
    )
    given = {"train": train, "valid": valid, "test": test}
    sources = {
        part: _read(dataset, _where(part, name), transforms[0], input_config is None, progress)
        for part, dataset in given.items()
        if dataset is not None
    }
    if valid is None:
        keep, cut = cut_valid(sources["train"].targets, sources["train"].digests, seed=_SPLIT_SEED)
        sources["valid"] = sources["train"].subset(cut)
        sources["train"] = sources["train"].subset(keep)
    splits = {
        part: sources[part].split(transforms, loader_workers, _where(part, name)) for part in given
    }
    if n_classes is None:
        n_classes = _count_classes(train, sources["train"].targets)
    validate_splits(
        splits["train"], splits["valid"], splits["test"], n_classes=n_classes, name=name
    )
    hashes = {part: sources[part].identity() for part in given}
    return Splits(
        name=name,
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=Multiclass(n_classes),
        class_names=_class_names(train, n_classes),
        fingerprint=splits_fingerprint(hashes, *(transform.id for transform in transforms)),
        protocol=protocol_text(name, hashes, len(splits["valid"]), len(splits["test"])),
        hashes=hashes,
        preprocessing=_preprocessing(sources["train"], input_config),
    )


@dataclass(frozen=True)
class _Source:
    """A dataset that has been read once.

    Attributes:
        dataset: The user's.
        targets: Class indices, (N,) int64.
        digests: Address of each image by content.
        images: Network inputs, (N, ...) float32, if they need no augmentation and fit in memory.
        is_raw: Whether all images are 8-bit, not ready for the network.
    """

    dataset: Any
    targets: Tensor
    digests: list[str]
    images: Tensor | None
    is_raw: bool

    def subset(self, indices: Tensor) -> _Source:
        """Returns the source restricted to ``indices``."""
        chosen = indices.tolist()
        return _Source(
            dataset=Subset(self.dataset, chosen),
            targets=self.targets[indices],
            digests=[self.digests[index] for index in chosen],
            images=None if self.images is None else self.images[indices],
            is_raw=self.is_raw,
        )

    def identity(self) -> str:
        """Returns the sha256 (hex) over all images and targets."""
        pairs = zip(self.digests, self.targets.tolist(), strict=True)
        return hash_lines(f"{digest} {target}" for digest, target in pairs)

    def split(
        self,
        transforms: tuple[ImageTransform, ImageTransform],
        loader_workers: int | None,
        where: str,
    ) -> Split:
        """Returns the split, in memory where that is possible."""
        if self.images is not None:
            return TensorSplit(self.images, self.targets)
        return DatasetSplit(
            self.dataset, *transforms, loader_workers, name=where, targets=self.targets
        )


def _read(
    dataset: Any, where: str, transform: ImageTransform, plain: bool, progress: Progress
) -> _Source:
    """Reads every image once; ``plain`` says that no 8-bit image is augmented."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"A map-style dataset with len() and items (image, class index) is needed for {where}, "
            f"got a {type(dataset).__name__}."
        )
    n_samples = len(dataset)
    check_not_empty(n_samples, where)
    paths = _plain_files(dataset)
    if paths is not None:
        with progress.stage(f"reading {where}", n_samples) as advance:
            file_digests: list[str] = []
            for path in paths:
                file_digests.append(_file_digest(path, len(file_digests), where))
                advance(1)
        return _Source(dataset, collect_targets(dataset, where), file_digests, None, True)
    digests, targets, is_raw = [], [], True
    kept: list[Tensor] | None = []
    n_bytes = 0
    with progress.stage(f"reading {where}", n_samples) as advance:
        for index in range(n_samples):
            image, target = _item(dataset, index, where)
            digests.append(_digest(image))
            is_raw = is_raw and _is_raw(image)
            targets.append(target)
            if index < _N_READ_TWICE and _digest(_item(dataset, index, where)[0]) != digests[-1]:
                raise DataError(
                    f"Sample {index} of {where} is another image each time it is read. Take the "
                    "random transforms out of the dataset: features are cached once, and "
                    "finetuning augments 8-bit images (PIL or uint8) by itself."
                )
            if kept is not None:
                ready = _as_input(transform, image, plain, index, where)
                if ready is not None:
                    kept.append(ready)
                    n_bytes += ready.numel() * 4
            if n_bytes > _IN_MEMORY_BYTES or len(kept or ()) != index + 1:
                kept = None
            advance(1)
    images = None if kept is None else _stack(kept, where)
    return _Source(dataset, as_class_indices(targets, where), digests, images, is_raw)


def _is_raw(image: Any) -> bool:
    try:
        return not is_ready(image)
    except DataError:  # no image at all, which is told when it is read
        return False


def _preprocessing(train: _Source, input_config: InputConfig | None) -> dict[str, Any]:
    """Describes how raw images become inputs; empty where they come ready, or of many sizes."""
    if not train.is_raw:
        return {}
    if input_config is not None:
        return describe_images(input_config, "crop")
    if train.images is None or train.images.ndim != 4:
        return {}
    return describe_images(None, "none", train.images.shape[1:])


def _file_digest(path: Path, index: int, where: str) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"Sample {index} of {where} ({path}) can't be read: {error.strerror or error}. Put the "
            "file back, or take it out of the dataset."
        ) from error


def _item(dataset: Any, index: int, where: str) -> tuple[Any, Any]:
    try:
        image, target = dataset[index]
    except Exception as error:  # a user's dataset may raise anything
        file = file_of(dataset, index)
        raise DataError(
            f"Sample {index} of {where}{f' ({file})' if file else ''} can't be read as "
            "(image, class index): "
            f"{type(error).__name__}: {error}"
        ) from error
    return image, target


def _as_input(
    transform: ImageTransform, image: Any, plain: bool, index: int, where: str
) -> Tensor | None:
    """Returns the network's input of an image that is never augmented, None for any other."""
    try:
        return transform(image, random.Random(0)) if plain or is_ready(image) else None
    except DataError as error:
        raise DataError(f"Sample {index} of {where} is unusable: {error}") from error


def _digest(image: Any) -> str:
    if isinstance(image, Tensor):
        return hash_tensors((image,))
    if isinstance(image, np.ndarray):
        return hash_tensors((torch.from_numpy(np.ascontiguousarray(image)),))
    if hasattr(image, "tobytes"):
        head = f"{getattr(image, 'mode', '')} {getattr(image, 'size', '')} ".encode()
        return hashlib.sha256(head + image.tobytes()).hexdigest()
    return hashlib.sha256(repr(image).encode()).hexdigest()


def _plain_files(dataset: Any) -> list[Path] | None:
    """Returns the image files of a torchvision-like folder dataset that transforms nothing.

    Hashing the files is several times faster than decoding them.
    """
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset):
        return None
    if any(getattr(dataset, f, None) is not None for f in ("transform", "target_transform")):
        return None
    paths = [sample[0] if isinstance(sample, tuple) else None for sample in samples]
    if not all(isinstance(path, str | os.PathLike) for path in paths):
        return None
    return [Path(path) for path in paths if path is not None]


def _stack(images: list[Tensor], where: str) -> Tensor:
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            raise DataError(
                f"Images of {where} must be of one size: sample 0 has the shape "
                f"{tuple(images[0].shape)}, sample {index} {tuple(image.shape)}. Resize them, or "
                "use a backbone that says its input size."
            )
    return torch.stack(images)


def _where(part: str, name: str) -> str:
    return f"the {part} split of dataset {name!r}"


def _classes(dataset: Any) -> list[str] | None:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    return [str(label) for label in classes] if isinstance(classes, list | tuple) else None


def _count_classes(train: Any, targets: Tensor) -> int:
    classes = _classes(train)
    return len(classes) if classes else max(2, int(targets.max()) + 1)


def _class_names(train: Any, n_classes: int) -> tuple[str, ...]:
    classes = _classes(train)
    if classes is not None and len(classes) == n_classes:
        return tuple(classes)
    return tuple(str(label) for label in range(n_classes))
