"""What ``energytune datasets`` tells of each dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from energytune.data import DatasetEntry, dataset_status
from energytune.data.catalog import OPEN_DATASETS
from energytune.data.looked_for import looked_for

__all__ = ["dataset_facts", "dataset_lines", "list_lines"]

_TASKS = {
    "classes": "one of {n} classes",
    "labels": "{n} yes-or-no labels",
    "pixels": "one of {n} classes for each pixel",
}


def dataset_facts(entry: DatasetEntry, root: Path, *, files: bool = False) -> dict[str, Any]:
    """Returns what is known of a dataset, without reading it.

    Args:
        entry: Which dataset.
        root: Folder that holds the datasets' folders.
        files: Whether to list what it is read from.
    """
    # Embedded data need no look at the disk, and their loaders are slow to import.
    embedded = entry.embedded
    there, where = (True, "comes with energytune") if embedded else dataset_status(entry, root)
    facts: dict[str, Any] = {
        "name": entry.name,
        "description": entry.description,
        "kind": entry.kind,
        "n_classes": entry.n_classes or None,
        "units": entry.units,
        "sizes": entry.sizes,
        "backbone": entry.backbone,
        "space": entry.space,
        "there": there,
        "where": where,
        "download": entry.download,
    }
    if files:
        wanted = [] if embedded else looked_for(entry, root)
        facts["files"] = [
            {"path": str(item.path), "there": item.there, "note": item.note} for item in wanted
        ]
    return facts


def list_lines(every: list[dict[str, Any]], root: Path) -> list[str]:
    """Returns the list of all datasets, and of the names that point to others."""
    prefixes = {f"{prefix}:": make(f"{prefix}:PATH") for prefix, make in OPEN_DATASETS.items()}
    width = max(len(name) for name in (*(facts["name"] for facts in every), *prefixes))
    lines = [f"Looked for in {root} (--data-root DIR or ENERGYTUNE_DATA names another folder).", ""]
    for facts in every:
        lines.append(f"{facts['name']:<{width}}  {facts['description']}")
        lines += [f"{'':<{width}}  {line}" for line in _summary(facts)]
    if prefixes:
        lines += ["", "Names that say where the data are:"]
        lines += [f"{name:<{width}}  {entry.description}" for name, entry in prefixes.items()]
    n_here = sum(facts["there"] for facts in every)
    lines += [
        "",
        f"{n_here} of {len(every)} are on this machine. Details: energytune datasets NAME",
    ]
    return lines


def dataset_lines(facts: dict[str, Any]) -> list[str]:
    """Returns one dataset in detail."""
    lines = [facts["name"], f"  {facts['description']}", *(f"  {line}" for line in _summary(facts))]
    if facts["files"]:
        lines.append("  looked for:")
    for file in facts["files"]:
        note = f" ({file['note']})" if file["note"] else ""
        lines.append(f"    {'there  ' if file['there'] else 'MISSING'}  {file['path']}{note}")
    if not facts["there"] and facts["download"]:
        lines.append(f"  energytune search --dataset {facts['name']} downloads it.")
    return lines


def _summary(facts: dict[str, Any]) -> list[str]:
    task = _TASKS[facts["kind"]].format(n=facts["n_classes"] or "the data's")
    download = "; can be downloaded" if facts["download"] and not facts["there"] else ""
    return [
        f"{task}; {facts['units']}: {facts['sizes']}",
        f"backbone {facts['backbone']}, space {facts['space']}",
        f"on this machine: {'yes' if facts['there'] else 'no'}, {facts['where']}{download}",
    ]
