"""Image datasets of torchvision, with splits of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset
from torchvision.datasets import STL10

from energytune.config import InputConfig
from energytune.data.dataset_split import DatasetSplit
from energytune.data.fingerprint import hash_lines, protocol_text, splits_fingerprint
from energytune.data.holdout import cut_valid
from energytune.data.splits import HeldOut, Splits
from energytune.data.stl10_files import IMAGE_BYTES, check_file
from energytune.data.transforms import EvalTransform, TrainTransform
from energytune.data.validation import validate_splits
from energytune.errors import DataError
from energytune.tasks import Multiclass

__all__ = ["LabelledSTL10", "load_stl10"]

_N_CLASSES = 10
_CLASS_NAMES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)
_SPLIT_SEED = 0


class LabelledSTL10(STL10):  # type: ignore[misc]
    """torchvision's STL10 without its unlabelled images.

    torchvision reads and hashes all five files, 2.8 GB with the unlabelled ones, whenever a
    dataset is made. Here only the split's own two files are checked, and hashed only once.
    Images are mapped into memory, so that all processes of a machine share them.

    Attributes:
        md5s: md5 (hex) of the split's image file and label file.
    """

    md5s: tuple[str, ...] = ()

    def _check_integrity(self) -> bool:
        files = self.test_list if self.split == "test" else self.train_list[:2]
        folder = Path(self.root) / self.base_folder
        self.md5s = tuple(check_file(folder / name, md5) for name, md5 in files)
        return True

    def _STL10__loadfile(  # noqa: N802 - replaces torchvision's private reader
        self, data_file: str, labels_file: str | None = None
    ) -> tuple[Any, Any]:
        folder = Path(self.root) / self.base_folder
        images = np.memmap(folder / data_file, dtype=np.uint8, mode="r").reshape(-1, 3, 96, 96)
        labels = None
        if labels_file is not None:
            labels = np.fromfile(folder / labels_file, dtype=np.uint8).astype(np.int64) - 1
            if len(labels) != len(images):
                raise DataError(
                    f"{folder / data_file} holds {len(images):,} images of {IMAGE_BYTES:,} bytes, "
                    f"but {labels_file} holds {len(labels):,} labels. Delete both and run again "
                    "to download them anew."
                )
        return images.transpose(0, 1, 3, 2), labels  # stored column by column


def load_stl10(
    root: Path,
    input_config: InputConfig,
    *,
    loader_workers: int | None = None,
) -> Splits:
    """Loads STL-10: the official test set; a stable fifth of each class of train is valid.

    Args:
        root: Folder that holds ``stl10_binary``, with all files in it.
        input_config: What the backbone expects.
        loader_workers: Processes that read images; None chooses.

    Raises:
        DataError: A file is damaged.
    """
    official = {part: LabelledSTL10(root, split=part) for part in ("train", "test")}
    targets = {part: torch.from_numpy(data.labels) for part, data in official.items()}
    n_train = len(targets["train"])
    keys = [f"train/{index:05d}" for index in range(n_train)]
    train_indices, valid_indices = cut_valid(targets["train"], keys, seed=_SPLIT_SEED)
    parts = {
        "train": ("train", train_indices),
        "valid": ("train", valid_indices),
        "test": ("test", torch.arange(len(targets["test"]))),
    }
    transforms = EvalTransform(input_config), TrainTransform(input_config)
    splits, hashes = {}, {}
    for part, (source, indices) in parts.items():
        splits[part] = DatasetSplit(
            Subset(official[source], indices.tolist()),
            *transforms,
            loader_workers,
            name=f"the {part} split of dataset 'stl10'",
            targets=targets[source][indices],
        )
        hashes[part] = _identity(official[source].md5s, indices)
    validate_splits(*splits.values(), n_classes=_N_CLASSES, name="stl10")
    return Splits(
        name="stl10",
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=Multiclass(_N_CLASSES),
        class_names=tuple(getattr(official["train"], "classes", _CLASS_NAMES)),
        fingerprint=splits_fingerprint(hashes, *(t.id for t in transforms)),
        protocol=protocol_text("stl10", hashes, len(splits["valid"]), len(splits["test"])),
        hashes=hashes,
    )


def _identity(md5s: tuple[str, ...], indices: Tensor) -> str:
    """Addresses a subset by the files' content and its indices, without reading an image."""
    return hash_lines([*md5s, *map(str, indices.tolist())])
