"""The numbers that the paper prints, to be shown beside ours: ``printed/*.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.paper.output import read_rows
from benchmarks.paper.settings import Settings

__all__ = ["PRINTED", "domain_of", "downstream_of", "pretraining_of", "printed_row", "read_printed"]

PRINTED = Path(__file__).parent / "printed"

_DOWNSTREAM = {
    "flowers102": "Flowers",
    "stl10": "STL10",
    "cifar100": "CIFAR100",
    "moltox21": "Tox21",
    "ogbg-moltox21": "Tox21",
}
"""Dataset -> the paper's name in Table 1."""


def read_printed(name: str) -> list[dict[str, Any]]:
    """Returns the rows of one printed table, such as ``"table1_hpft"``; scores are in percent."""
    return read_rows(PRINTED / f"{name}.csv")


def printed_row(name: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the row whose columns have the wanted values; None if the paper has none."""
    for row in read_printed(name):
        if all(str(row[column]) == str(value) for column, value in wanted.items()):
            return row
    return None


def downstream_of(settings: Settings) -> str:
    """Returns the paper's name of the dataset in Table 1; ``""`` if it is not there."""
    return _DOWNSTREAM.get(settings.dataset, "")


def pretraining_of(settings: Settings) -> str:
    """Returns the paper's name of the pretraining, ``""`` if it can't be told.

    The command line's ``--pretraining`` counts first: a checkpoint does not say what it is.
    """
    if settings.pretraining:
        return settings.pretraining
    if settings.checkpoint is not None or settings.weights == "none":
        return ""
    return "Sup-IN" if settings.backbone.endswith("in1k") else ""


def domain_of(settings: Settings) -> str:
    """Returns the domain of DomainNet in Tables 3 and 5-8; ``""`` if it is none."""
    for domain in ("Real", "Sketch", "Quick"):
        if domain.lower() in settings.dataset and "domainnet" in settings.dataset:
            return domain
    return ""
