"""Hand-made files in STL-10's own binary format, for tests.

Importable by path, or through the fixture ``stl10_root`` of ``tests/conftest.py``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

CLASS_NAMES = (
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


def make_images(n_per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, 3, 96, 96) uint8 as seen, and labels (N,) uint8 from 1, shuffled.

    Each class has a colour and a bright bar at its own height, so that it can be learned.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(10), n_per_class))
    images = rng.integers(0, 80, size=(len(labels), 3, 96, 96), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label % 3] += 60
        image[:, 9 * label : 9 * label + 9, 10:60] += 100
    return images, (labels + 1).astype(np.uint8)


def write_stl10(root: Path, *, n_train_per_class: int = 10, n_test_per_class: int = 4) -> Path:
    """Writes ``root/stl10_binary`` with its labelled files and returns that folder."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, n_per_class) in enumerate(
        {"train": n_train_per_class, "test": n_test_per_class}.items()
    ):
        images, labels = make_images(n_per_class, seed)
        # Column-major: the file holds each channel column by column.
        images.transpose(0, 1, 3, 2).tofile(folder / f"{part}_X.bin")
        labels.tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    return folder


def patch_md5s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the files in ``folder`` count as the genuine ones, in this process only."""
    from energytune.data import stl10_files

    found = {
        name: hashlib.md5((folder / name).read_bytes()).hexdigest()
        for name in stl10_files.MD5S
        if (folder / name).is_file()
    }
    monkeypatch.setattr(stl10_files, "MD5S", {**stl10_files.MD5S, **found})


def accept_md5s(folder: Path) -> None:
    """Notes in ``$ENERGYTUNE_CACHE`` that the files were checked.

    Other processes with the same cache then load them too, although their tables say otherwise.
    """
    from energytune.data.file_checks import check_file
    from energytune.data.stl10_files import MD5S

    for name in MD5S:
        path = folder / name
        check_file(path, hashlib.md5(path.read_bytes()).hexdigest())
