"""Small hand-made files in the real formats of the image datasets.

Each maker writes one dataset under a data root. Where the real files are known by their md5, the
maker makes the small ones count as genuine, in the running test only.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

FLOWER_SETS = {
    "trnid": [3, 8, 12, 5],
    "valid": [1, 10, 4, 7],
    "tstid": [2, 6, 9, 11, 13, 14, 15, 16],
}
FLOWER_LABELS = [1 + number % 2 for number in range(1, 17)]
"""Of the images 1 to 16; each set has both classes."""


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_image(path: Path, seed: int = 0, size: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size, size, 3)).save(path)
    return path


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(root: Path, n_train: int = 50, n_test: int = 20) -> Path:
    folder = root / "MNIST" / "raw"
    for seed, (prefix, n) in enumerate({"train": n_train, "t10k": n_test}.items()):
        # One after the other, so that a longer file is a shorter one with more behind it.
        images = np.concatenate([pixels(1000 * seed + i, 1, 28, 28) for i in range(n)])
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    return folder


def write_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, n_classes: int = 10, per_class: int = 10
) -> Path:
    """Writes pickles as the genuine ones are: rows of 3,072 bytes, red then green then blue."""
    from energytune.data import cifar

    name = f"cifar{n_classes}"
    version = cifar.VERSIONS[name]
    folder = root / {10: "cifar-10-batches-py", 100: "cifar-100-python"}[n_classes]
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, dict[str, str]] = {}
    for part, files in (("train", version.train), ("test", version.test)):
        labels = [i % n_classes for i in range(n_classes * (per_class if part == "train" else 2))]
        share = len(labels) // len(files)
        for place, file in enumerate(files):
            content = {
                "data": pixels(place + 10 * (part == "test"), share, 3072),
                version.labels_key: labels[place * share : (place + 1) * share],
            }
            if n_classes == 100:
                content["coarse_labels"] = [0] * share
            (folder / file).write_bytes(pickle.dumps(content, protocol=2))
        tables[part] = {file: md5(folder / file) for file in files}
    [meta] = version.meta
    names = [f"class {label}" for label in range(n_classes)]
    (folder / meta).write_bytes(pickle.dumps({version.names_key: names}, protocol=2))
    tables["meta"] = {meta: md5(folder / meta)}
    patch_cifar(monkeypatch, name, **tables)
    return folder


def patch_cifar(monkeypatch: pytest.MonkeyPatch, name: str, **tables: dict[str, str]) -> None:
    from dataclasses import replace

    from energytune.data import cifar

    monkeypatch.setitem(cifar.VERSIONS, name, replace(cifar.VERSIONS[name], **tables))


def write_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = root / "flowers-102"
    for number in range(1, len(FLOWER_LABELS) + 1):
        save_image(folder / "jpg" / f"image_{number:05d}.jpg", number, 20)
    savemat(folder / "imagelabels.mat", {"labels": np.array([FLOWER_LABELS])})
    savemat(folder / "setid.mat", {key: np.array([ids]) for key, ids in FLOWER_SETS.items()})
    accept_flowers(folder, monkeypatch)
    return folder


def accept_flowers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from energytune.data import flowers

    monkeypatch.setattr(flowers, "MD5S", {name: md5(folder / name) for name in flowers.MD5S})
    monkeypatch.setattr(flowers, "N_IMAGES", len(FLOWER_LABELS))


def annotations(names: Sequence[str], classes: Sequence[int] | None) -> np.ndarray:
    """Returns rows as in Stanford Cars' devkit; without ``classes`` as in its unlabelled list."""
    boxes = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
    kinds = [(box, object) for box in boxes]
    if classes is not None:
        kinds.append(("class", object))
    rows = np.zeros((1, len(names)), dtype=[*kinds, ("fname", object)])
    for index, name in enumerate(names):
        row = rows[0, index]
        for box in boxes:
            row[box] = np.array([[1]], dtype=np.uint8)
        if classes is not None:
            row["class"] = np.array([[classes[index]]], dtype=np.uint8)
        row["fname"] = name
    return rows


def write_cars(root: Path, *, labels_in_devkit: bool = False) -> Path:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True, exist_ok=True)
    names = np.array([["Audi A", "BMW B", "Citroen C"]], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    for seed, (part, n) in enumerate({"cars_train": 15, "cars_test": 6}.items()):
        files = [f"{number:05d}.jpg" for number in range(1, n + 1)]
        for place, file in enumerate(files):
            save_image(folder / part / file, 100 * seed + place)
        rows = annotations(files, [1 + place % 3 for place in range(n)])
        table = "devkit/cars_train_annos.mat"
        if part == "cars_test":
            table = f"{'devkit/' if labels_in_devkit else ''}cars_test_annos_withlabels.mat"
        savemat(folder / table, {"annotations": rows})
    return folder


def write_domainnet(root: Path, domain: str = "real", labels: Sequence[int] = (0, 7, 344)) -> Path:
    folder = root / "domainnet"
    for part, n in {"train": 5, "test": 2}.items():
        lines = []
        for label in labels:
            for place in range(n):
                name = f"{domain}/thing_{label:03d}/{domain}_{part}_{place:06d}.jpg"
                save_image(folder / name, 10 * label + place)
                lines.append(f"{name} {label}")
        (folder / f"{domain}_{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_imagenet(root: Path, *, kaggle: bool = False, n_train: int = 30) -> Path:
    folder = root / "imagenet"
    images = folder / "ILSVRC" / "Data" / "CLS-LOC" if kaggle else folder
    lines = ["ImageId,PredictionString"]
    for label, wnid in enumerate(("n01440764", "n02102040", "n03888257")):
        for place in range(n_train):
            save_image(images / "train" / wnid / f"{wnid}_{place}.JPEG", 100 * label + place, 4)
        for place in range(2):
            stem = f"ILSVRC2012_val_{3 * place + label + 1:08d}"
            at = images / "val" if kaggle else images / "val" / wnid
            save_image(at / f"{stem}.JPEG", 1000 + 10 * label + place, 4)
            lines.append(f"{stem},{wnid} 1 2 3 4 {wnid} 5 6 7 8 ")
    if kaggle:
        (folder / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_folder(folder: Path, parts: dict[str, int] | None = None) -> Path:
    """Writes a folder of images; ``parts`` says how many of each class a split has."""
    for seed, (part, n) in enumerate((parts or {"train": 5, "valid": 2, "test": 2}).items()):
        for label, name in enumerate(("cat", "dog", "eel")):
            for place in range(n):
                save_image(folder / part / name / f"{place}.png", 1000 * seed + 100 * label + place)
    return folder


def load(name: str, root: Path | None = None, **kwargs):
    """Loads a dataset at 16 pixels, without a download and in this process."""
    from energytune.config import InputConfig
    from energytune.data import load_dataset

    defaults = {"input_config": InputConfig(size=(3, 16, 16)), "download": False}
    return load_dataset(name, data_root=root, loader_workers=0, **{**defaults, **kwargs})


def sizes(splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.valid), len(splits.test)


def rows(split) -> set[bytes]:
    """Returns the network's inputs of a split."""
    return {image.numpy().tobytes() for batch, _ in split.batches(64) for image in batch}


class Watch:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[str, int | None]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def stage(self, name: str, total: int | None):
        self.stages.append((name, total))
        yield lambda n: None
