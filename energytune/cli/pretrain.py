"""``energytune pretrain``: supervised pretraining of a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energytune.cli.folders import RUNS_DIR

if TYPE_CHECKING:
    from rich.console import Console

    from energytune.search.pretrain import PretrainResult

__all__ = ["pretrain"]


def pretrain(
    dataset: Annotated[
        str, typer.Option(help="What to pretrain on; `energytune datasets` lists all.")
    ],
    out: Annotated[Path, typer.Option(help="The checkpoint to write, FILE.safetensors.")],
    backbone: Annotated[
        str | None, typer.Option(help="Its architecture. Default: the dataset's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs. Default: 200, for molecules 100.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: 0.1, for molecules 0.05.")
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum. Default: 0.9.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty. Default: 5e-4, for molecules 0.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step. Default: 128.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 to below 1.")] = None,
    augment: Annotated[
        bool | None, typer.Option(help="Crop and flip training images at random. Default: yes.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="best epoch by validation (default), or last.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batch order and augmentation.")] = 0,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the input images in pixels, e.g. 32. Default: the backbone's."),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds datasets.")] = None,
    loader_workers: Annotated[int | None, typer.Option(help="Processes that read images.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server. Default: SQLite in energytune-runs.")
    ] = None,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, all else on stderr.")
    ] = False,
) -> None:
    """Pretrain a backbone, supervised, and write it as a checkpoint.

    The same command goes on where it was stopped. A search takes the file with --checkpoint.
    """
    _run(locals())


def _run(options: dict[str, Any]) -> None:
    from energytune.cli.display import make_console, make_stages
    from energytune.search.pretrain import pretrain as run

    as_json = options.pop("as_json")
    console = make_console(to_stderr=as_json)
    with make_stages(console) as stages:
        result = run(options.pop("dataset"), **options, home=RUNS_DIR, progress=stages)
    _print(console, result, options)
    if as_json:
        typer.echo(result.to_json())


def _print(console: Console, result: PretrainResult, options: dict[str, Any]) -> None:
    best = result.best
    lines = [
        f"Best epoch by validation: {best.epoch}, {result.metric} {best.valid_acc:.4f}, "
        f"loss {best.valid_loss:.4f}",
        f"Checkpoint: {result.path} (epoch {result.kept_epoch}, sha256 {result.sha256[:12]})",
    ]
    if not result.epochs:
        lines.insert(0, "It was complete already.")
    if result.link:
        lines.append(f"MLflow, while `energytune ui` runs: {result.link}")
    lines.append(f"Search with it: energytune search --dataset NAME --checkpoint {result.path}")
    for line in lines:
        console.print(line, soft_wrap=True)
