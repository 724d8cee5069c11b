"""The image datasets that are read from disk, and the prefixes of names that point to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from energytune.data.entry import DatasetEntry
from energytune.data.name_options import FOLDER_OPTIONS, HF_OPTIONS, SKIP, is_path, parse_name

__all__ = ["ENTRIES", "OPEN"]

_RESNET18 = "resnet18.tv_in1k"
_RESNET50 = "resnet50.tv_in1k"


def _cifar(n_classes: int) -> DatasetEntry:
    return DatasetEntry(
        name=f"cifar{n_classes}",
        description=f"CIFAR-{n_classes}, photographs of {n_classes} classes, 32 x 32.",
        n_classes=n_classes,
        sizes="40,000 train, 10,000 valid, 10,000 test",
        backbone=_RESNET18,
        space="cifar",
        family="cifar",
        where={10: "cifar-10-batches-py", 100: "cifar-100-python"}[n_classes],
        download=True,
    )


def _flowers(name: str, description: str, sizes: str) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        n_classes=102,
        sizes=sizes,
        backbone=_RESNET50,
        space="flowers",
        family="flowers",
        where="flowers-102",
        download=True,
    )


def _domainnet(domain: str, told: str, sizes: str) -> tuple[DatasetEntry, DatasetEntry]:
    """Returns the entries of a domain: all classes, and as many as the paper uses."""
    return (
        DatasetEntry(
            name=f"domainnet-{domain}",
            description=f"DomainNet {domain}: {told} of 345 classes, official lists.",
            n_classes=345,
            sizes=sizes,
            backbone=_RESNET50,
            space="domainnet",
            family="domainnet",
            where="domainnet",
        ),
        DatasetEntry(
            name=f"domainnet-{domain}-paper",
            description=(
                f"DomainNet {domain} with the first 200 of 345 classes; the paper uses 200 and "
                "does not say which."
            ),
            n_classes=200,
            sizes="about 58 % of all images of the domain",
            backbone=_RESNET50,
            space="domainnet",
            family="domainnet",
            where="domainnet",
        ),
    )


ENTRIES = (
    DatasetEntry(
        name="mnist",
        description="MNIST, handwritten digits, 28 x 28 grey.",
        n_classes=10,
        sizes="48,000 train, 12,000 valid, 10,000 test",
        backbone=_RESNET18,
        space="mnist",
        family="mnist",
        where="MNIST/raw",
        download=True,
    ),
    DatasetEntry(
        name="stl10",
        description="STL-10, photographs of ten classes, 96 x 96.",
        n_classes=10,
        sizes="4,000 train, 1,000 valid, 8,000 test",
        backbone=_RESNET50,
        space="stl10",
        family="stl10",
        where="stl10_binary",
        download=True,
    ),
    _cifar(10),
    _cifar(100),
    _flowers(
        "flowers102",
        "Oxford Flowers 102 with its official splits.",
        "1,020 train, 1,020 valid, 6,149 test",
    ),
    _flowers(
        "flowers102-paper",
        "Oxford Flowers 102 in the paper's protocol: trained on the 6,149 images of the official "
        "test set, tested on the 2,040 of official train and valid.",
        "6,149 train less a fifth of each class for valid, 2,040 test",
    ),
    DatasetEntry(
        name="stanford-cars",
        description="Stanford Cars, photographs of 196 models of cars.",
        n_classes=196,
        sizes="8,144 train less a fifth of each class for valid, 8,041 test",
        backbone=_RESNET50,
        space="flowers",
        family="cars",
        where="stanford_cars",
    ),
    *_domainnet(
        "real", "photographs", "120,906 train less a fifth of each class for valid, 52,041 test"
    ),
    *_domainnet(
        "sketch", "sketches", "48,212 train less a fifth of each class for valid, 20,916 test"
    ),
    *_domainnet(
        "quickdraw",
        "quick drawings",
        "120,750 train less a fifth of each class for valid, 51,750 test",
    ),
    DatasetEntry(
        name="imagenet",
        description="ImageNet-1k (ILSVRC 2012); the official valid is the test set.",
        n_classes=1_000,
        sizes="1,281,167 train less 4 % of each class for valid, 50,000 test",
        backbone=_RESNET50,
        space="stl10",
        family="imagenet",
        where="imagenet",
    ),
)
"""In the order in which they are listed."""


def _folder(name: str) -> DatasetEntry:
    path = parse_name(name, FOLDER_OPTIONS).target
    return DatasetEntry(
        name=name,
        description=(
            "Your own images: PATH holds train/, test/ and maybe valid/, each with one folder a "
            f"class; ?{SKIP} leaves out images that can't be read."
        ),
        n_classes=0,
        sizes="as given",
        backbone=_RESNET50,
        space="stl10",
        family="folders",
        where=_absolute(path),
    )


def _huggingface(name: str) -> DatasetEntry:
    target = parse_name(name, HF_OPTIONS).target
    local = is_path(target)
    return DatasetEntry(
        name=name,
        description=(
            "An image dataset of the Hugging Face Hub, or a folder in one of its forms; options: "
            f"?{'&'.join(f'{option}=NAME' for option in HF_OPTIONS)}."
        ),
        n_classes=0,
        sizes="as given",
        backbone=_RESNET50,
        space="stl10",
        family="huggingface",
        where=_absolute(target) if local else target,
        download=not local,
    )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


OPEN: dict[str, Callable[[str], DatasetEntry]] = {"folder": _folder, "hf": _huggingface}
"""Prefix of names such as ``folder:PATH`` -> makes the entry of such a name."""
