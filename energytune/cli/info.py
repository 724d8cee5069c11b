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
    """List the datasets.

    With default backbone and space, and whether the data are on this machine.
    """
    from energytune.data import DATASETS, dataset_status

    width = max(map(len, DATASETS))
    for entry in DATASETS.values():
        here, where = dataset_status(entry, data_root)
        typer.echo(f"{entry.name:<{width}}  {entry.description}")
        for line in (
            f"{entry.n_classes} classes; {entry.sizes}",
            f"backbone {entry.backbone}, space {entry.space}",
            f"on this machine: {'yes' if here else 'no'}, {where}",
        ):
            typer.echo(f"{'':<{width}}  {line}")


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
    """Check this machine.

    Prints versions, devices and paths, and what is missing with the command that installs it.
    Exits with code 1 if a search can't run.
    """
    from energytune.cli.checkup import check_up, print_check_up

    report = check_up()
    print_check_up(report)
    if not report.healthy:
        raise typer.Exit(1)
