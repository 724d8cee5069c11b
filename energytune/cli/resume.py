"""``energytune resume``: goes on with a search where it was stopped, or extends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.resume_options import ResumeOptions
from energytune.cli.run import run_and_tell

__all__ = ["resume"]


def resume(
    search: Annotated[
        str,
        typer.Argument(
            help="Folder of a search. With --storage: name of its study.", metavar="DIR|STUDY"
        ),
    ],
    trials: Annotated[
        str | None,
        typer.Option(help="Trials in all, or +20 for so many more.", metavar="N|+N"),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(help="Stop in time, for example 90s, 30m, 2h, from now.", metavar="TIME"),
    ] = None,
    gpu_hours: Annotated[
        float | None, typer.Option(help="GPU-hours in all, what was spent included.")
    ] = None,
    max_disk: Annotated[
        str | None, typer.Option(help="Room on the disk in all, for example 50GB.", metavar="SIZE")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Trials at once. Default: as before.")
    ] = None,
    cpus_per_trial: Annotated[
        int | None, typer.Option(help="CPU cores a trial computes with. Default: as before.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs a trial holds. Default: as before.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join. Default: as before.")
    ] = None,
    storage_path: Annotated[
        str | None, typer.Option(help="Folder or URL that all nodes share. Default: as before.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL that holds the study.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server. Default: as before.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a search that is named by its study.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, all else on stderr.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Tell more.")] = False,
) -> None:
    """Go on with a search where it was stopped or killed, or extend one that has ended.

    The study says what was done: nothing that has ended is run again, and what was running goes on
    from its last checkpoint. `--trials +20` adds trials to a search that has ended.
    """
    options = ResumeOptions(
        search=search,
        trials=trials,
        time_budget=time_budget,
        gpu_hours=gpu_hours,
        max_disk=max_disk,
        concurrency=concurrency,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        ray_address=ray_address,
        storage_path=storage_path,
        storage=storage,
        tracking_uri=tracking_uri,
        out=out,
    )
    run_and_tell("resume", options, options.to_config(), as_json=as_json, verbose=verbose)
