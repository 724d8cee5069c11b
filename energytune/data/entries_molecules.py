"""The molecules datasets."""

from __future__ import annotations

from collections.abc import Callable

from energytune.data.csv_name import parse_csv_name
from energytune.data.entry import DatasetEntry

__all__ = ["ENTRIES", "OPEN"]


def _ogb(name: str, description: str, *, n_labels: int, sizes: str) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        n_classes=n_labels,
        sizes=sizes,
        backbone="gcn",
        space="molecules-ogb",
        family="molecules",
        kind="labels",
        where=f"ogbg_{name}",
        units="molecules",
    )


def _embedded(name: str, description: str, *, n_labels: int, sizes: str) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        n_classes=n_labels,
        sizes=sizes,
        backbone="gcn-small",
        space="molecules",
        family="embedded_molecules",
        kind="labels",
        embedded=True,
        units="molecules",
        pretrains=True,
    )


ENTRIES = (
    _embedded(
        "molecules",
        "Twelve toxicophores of made-up molecules; backbone pretrained on descriptors of others.",
        n_labels=12,
        sizes="400 train, 400 valid, 800 test",
    ),
    _embedded(
        "descriptors",
        "Fourteen descriptors of made-up molecules, above their median or not: to pretrain on.",
        n_labels=14,
        sizes="2,800 train, 300 valid, 300 test",
    ),
    _ogb(
        "moltox21",
        "Tox21, twelve toxicity assays, some of them missing; official scaffold split.",
        n_labels=12,
        sizes="6,264 train, 783 valid, 784 test",
    ),
    _ogb(
        "molhiv",
        "HIV, whether a molecule inhibits the virus; official scaffold split.",
        n_labels=1,
        sizes="32,901 train, 4,113 valid, 4,113 test",
    ),
    _ogb(
        "molpcba",
        "PCBA, 128 assays, most of them missing; official scaffold split.",
        n_labels=128,
        sizes="350,343 train, 43,793 valid, 43,793 test",
    ),
)
"""In the order in which they are listed."""


def _csv(name: str) -> DatasetEntry:
    told = parse_csv_name(name)
    return DatasetEntry(
        name=name,
        description=f"The molecules of {told.path}.",
        n_classes=len(told.labels or ()),
        sizes="as in the file",
        backbone="gcn",
        space="molecules-ogb",
        family="molecules",
        kind="labels",
        where=str(told.path),
        units="molecules",
    )


OPEN: dict[str, Callable[[str], DatasetEntry]] = {"csv": _csv}
"""Prefix of names such as ``csv:PATH`` -> makes the entry of such a name."""
