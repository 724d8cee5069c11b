"""``energytune datasets``, ``backbones`` and ``doctor``: what there is and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["backbones", "datasets", "doctor"]


def datasets(
    name: Annotated[
        str | None, typer.Argument(help="One dataset in detail, for example 'cifar10'.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that holds the datasets' folders.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """List the datasets.

    With sizes, default backbone and space, where files are looked for, and what is there.
    """
    import json

    from energytune.cli.datasets_text import dataset_facts, dataset_lines, list_lines
    from energytune.data import DATASETS, default_data_root, get_dataset

    root = data_root or default_data_root()
    if name is not None:
        entry = get_dataset(name)
        facts = dataset_facts(entry, root, files=True)
        typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(dataset_lines(facts)))
        return
    every = [dataset_facts(entry, root) for entry in DATASETS.values()]
    typer.echo(json.dumps(every, indent=2) if as_json else "\n".join(list_lines(every, root)))


def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="Only names that match, for example 'resnet*'.")
    ] = None,
    cuts: Annotated[
        bool,
        typer.Option(
            "--cuts",
            help="Show which reinit_depths hold, tried with random weights. Without a pattern: "
            "one small architecture of each family.",
        ),
    ] = False,
    input_size: Annotated[
        int | None,
        typer.Option(help="With --cuts: side of the images in pixels; smaller ones are faster."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="With --cuts: print a Markdown table.")
    ] = False,
) -> None:
    """List the backbones: the embedded ones, timm's and torchvision's."""
    from energytune.errors import ConfigError, unknown_name
    from energytune.models import list_backbones

    if not cuts and (markdown or input_size is not None):
        raise ConfigError("--markdown and --input-size go with --cuts. Add --cuts.")
    if input_size is not None and input_size < 1:
        raise ConfigError(f"--input-size must be at least 1 pixel, got {input_size}.")
    if cuts and pattern is None:
        _print_cuts(None, input_size, markdown)
        return
    names = list_backbones(pattern)
    if not names:
        raise unknown_name(
            "backbone", pattern or "", list_backbones(), "A pattern may hold * and ?."
        )
    if cuts:
        _print_cuts(names, input_size, markdown)
        return
    for name in names:
        typer.echo(name)


def _print_cuts(names: list[str] | None, side: int | None, markdown: bool) -> None:
    """Prints where each backbone can be cut, and on stderr which one is being tried.

    Args:
        names: Names of backbones; those with a tag of weights are cut like those without and
            left out. None: one of each family.
        side: Side of the images in pixels; None: the one noted for the family, or the usual one.
        markdown: Whether to print a Markdown table.
    """
    from energytune.models.cut_families import CUT_FAMILIES
    from energytune.models.cut_report import PAGE_HEADER, markdown_table, report_cuts

    if names is None:
        names = list(CUT_FAMILIES)
        if markdown:
            typer.echo(PAGE_HEADER)
    else:
        known = set(names)
        names = [name for name in names if name.partition(".")[0] not in known - {name}]
    if markdown:
        for line in markdown_table([]):
            typer.echo(line)
    for number, name in enumerate(names, start=1):
        typer.echo(f"[{number}/{len(names)}] {name}", err=True)
        report = report_cuts(name, side or CUT_FAMILIES.get(name))
        if markdown:
            typer.echo(markdown_table([report.cells()])[-1])
            continue
        _, shape, blocks, depths, first, problem = report.cells()
        unit = "" if report.stages else " blocks"
        typer.echo(f"{name}: {blocks}{unit}, reinit_depth {depths}, depth 1 at {first}, {shape}")
        if report.problem:
            typer.echo(f"    {problem}")


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
