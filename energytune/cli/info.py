"""``energytune datasets``, ``backbones`` and ``doctor``: what there is and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["backbones", "datasets", "doctor"]


def datasets(
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that holds image datasets.")
    ] = None,
) -> None:
    """List the datasets, with default backbone and space, and whether they are here."""
    from rich.table import Table

    from energytune.cli.display import make_console
    from energytune.data import DATASETS, dataset_status

    table = Table(box=None, padding=(0, 1), header_style="bold")
    for column in ("name", "classes", "images", "backbone", "space", "on this machine"):
        table.add_column(column, overflow="fold")
    for entry in DATASETS.values():
        here, where = dataset_status(entry, data_root)
        table.add_row(
            entry.name,
            str(entry.n_classes),
            entry.sizes,
            entry.backbone,
            entry.space,
            ("yes, " if here else "no, ") + where,
        )
    console = make_console()
    console.print(table)
    for entry in DATASETS.values():
        console.print(f"  {entry.name}: {entry.description}", soft_wrap=True)


def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="Only names that match, for example 'resnet*'.")
    ] = None,
) -> None:
    """List the backbones: the embedded ones and timm's."""
    from energytune.errors import unknown_name
    from energytune.models import list_backbones

    names = list_backbones(pattern)
    if not names:
        raise unknown_name(
            "backbone", pattern or "", list_backbones(), "A pattern may hold * and ?."
        )
    for name in names:
        typer.echo(name)


def doctor() -> None:
    """Print versions, devices and paths, and what is missing with the command that installs it.

    Exits with code 1 if a search can't run.
    """
    from energytune.cli.checkup import check_up, print_check_up

    report = check_up()
    print_check_up(report)
    if not report.healthy:
        raise typer.Exit(1)
