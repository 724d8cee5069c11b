"""``energytune search``: options in, a search, its summary out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energytune.cli.options import SearchOptions

if TYPE_CHECKING:
    from energytune.config import SearchConfig

__all__ = ["search"]


def search(
    dataset: Annotated[
        str, typer.Option(help="Downstream dataset; `energytune datasets` lists them.")
    ] = "digits",
    backbone: Annotated[
        str | None, typer.Option(help="Pretrained backbone. Default: the dataset's own.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File with the backbone's weights (safetensors or .pth).")
    ] = None,
    checkpoint_prefix: Annotated[
        str | None,
        typer.Option(help="What stands before the backbone's names in that file.", metavar="TEXT"),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the input images in pixels, e.g. 32. Default: the backbone's."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="default (pretrained) or none (random backbone).")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that holds image datasets.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="linear or mlp; the same as --fix head_arch=...")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space: a name or a YAML file.", metavar="FILE|NAME")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Trials at most, the two baselines included. Default: 30, and 200 with "
            "--until converged."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop in time, for example 90s, 30m, 2h.", metavar="TIME")
    ] = None,
    ft_epochs: Annotated[
        int | None,
        typer.Option(help="Begin no trial after so many finetuning epochs of all trials together."),
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(help="Begin no trial after so many GPU-hours, confirmation included."),
    ] = None,
    max_disk: Annotated[
        str | None,
        typer.Option(
            help="What the search may write, for example 20GB: its folder and what it caches.",
            metavar="SIZE",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="trials (default) or converged: stop as well when the expected improvement is "
            "below half the seed deviation; needs --sampler energy.",
            metavar="trials|converged",
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Trials at once. Default: as many as fit.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(help="GPUs a trial, for example 0.5. Default: 1 if there is one."),
    ] = None,
    cpus_per_trial: Annotated[
        int | None, typer.Option(help="CPU cores a trial. Default: 1.")
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(help="Fix a dimension, for example tau=8. Repeatable.", metavar="NAME=VALUE"),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines/--no-baselines",
            help="Begin with tau = 0 and the largest tau. Without them nothing is compared.",
        ),
    ] = True,
    finetune_epochs: Annotated[
        int | None, typer.Option(help="Finetuning epochs of a trial. Default: the space's.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="energy (default), tpe, gp or random.")
    ] = None,
    pruner: Annotated[str | None, typer.Option(help="energy (default), median or none.")] = None,
    warm_start: Annotated[
        bool,
        typer.Option(
            "--warm-start/--no-warm-start",
            help="Take the first picks from earlier searches beside --out whose energy map is "
            "near; needs --sampler energy. Off by default: no gain was shown.",
        ),
    ] = False,
    confirm_seeds: Annotated[
        int | None,
        typer.Option(help="Seeds on which the best recipes are confirmed, by mean. Default: 3."),
    ] = None,
    confirm_recipes: Annotated[
        int | None, typer.Option(help="Recipes to confirm beside the baselines. Default: 3.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the search. Default: one for each search in energytune-runs."),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server. Default: SQLite in the folder.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL. Default: a journal in the folder.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join. Default: one on this machine.")
    ] = None,
    cache_budget: Annotated[
        str | None,
        typer.Option(
            help="Room for cached features, for example 20GB. Default: a quarter of what is free.",
            metavar="SIZE",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, all else on stderr.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Tell more.")] = False,
) -> None:
    """Search the best recipe for a dataset.

    A recipe says how long to probe the head, which head it is, and how to finetune. The same
    command with the same --out goes on where an earlier one was stopped.
    """
    options = SearchOptions(
        dataset=dataset,
        backbone=backbone,
        checkpoint=checkpoint,
        checkpoint_prefix=checkpoint_prefix,
        image_size=image_size,
        weights=weights,
        data_root=data_root,
        head=head,
        space=space,
        trials=trials,
        seed=seed,
        time_budget=time_budget,
        ft_epochs=ft_epochs,
        gpu_hours=gpu_hours,
        max_disk=max_disk,
        until=until,
        concurrency=concurrency,
        gpus_per_trial=gpus_per_trial,
        cpus_per_trial=cpus_per_trial,
        fix=tuple(fix or ()),
        baselines=baselines,
        finetune_epochs=finetune_epochs,
        sampler=sampler,
        pruner=pruner,
        warm_start=warm_start,
        confirm_seeds=confirm_seeds,
        confirm_recipes=confirm_recipes,
        out=out,
        tracking_uri=tracking_uri,
        storage=storage,
        ray_address=ray_address,
        cache_budget=cache_budget,
    )
    from energytune.data import get_dataset

    config = options.to_config(get_dataset(dataset).space)
    _run(options, config, as_json, verbose)


def _run(options: SearchOptions, config: SearchConfig, as_json: bool, verbose: bool) -> None:
    """Runs the search and prints its end.

    Raises:
        typer.Exit: With code 130 if it was interrupted, 1 if there is no winner.
    """
    from energytune.cli.display import log_to, make_console, make_display
    from energytune.cli.summary import summarise
    from energytune.cli.summary_json import to_json
    from energytune.cli.summary_text import print_summary
    from energytune.tune import run_search

    console = make_console(to_stderr=as_json)
    console.print(
        f"energytune search: {config.dataset}, {_extent(config)}, seed {config.seed}, "
        f"in {config.out}",
        soft_wrap=True,
    )
    if verbose:
        log_to(console)
    try:
        with make_display(console, config, verbose) as display:
            result = run_search(config, observers=[display], progress=display)
    except KeyboardInterrupt:
        _say_how_to_go_on(options, config)
        raise typer.Exit(130) from None
    summary = summarise(result, options)
    print_summary(console, summary)
    if as_json:
        typer.echo(to_json(summary))
    if result.interrupted:
        typer.echo("Interrupted. What has ended is kept.", err=True)
        raise typer.Exit(130)
    if summary.winner is None:
        raise typer.Exit(1)


def _extent(config: SearchConfig) -> str:
    """Returns what ends the search, of what is known before."""
    text = f"{config.n_trials} trials"
    if config.until == "converged":
        text = f"until converged, at most {text}"
    if config.ft_epochs_budget is not None:
        text += f", {config.ft_epochs_budget:,} finetuning epochs"
    if config.gpu_hours is not None:
        text += f", {config.gpu_hours:g} GPU-hours"
    if config.max_disk is not None:
        text += f", {config.max_disk} of disk"
    return text


def _say_how_to_go_on(options: SearchOptions, config: SearchConfig) -> None:
    typer.echo("\nInterrupted. What has ended is kept. Go on with:", err=True)
    typer.echo(f"  {options.at(config.out).command()}", err=True)
