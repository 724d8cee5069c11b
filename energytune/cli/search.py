"""``energytune search``: options in, a search, its summary out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.options import SearchOptions
from energytune.cli.run import run_and_tell
from energytune.errors import ConfigError

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
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32 (default) or bf16: autocast on GPUs that have it.", metavar="fp32|bf16"
        ),
    ] = None,
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last/--no-channels-last",
            help="Finetune convolutions with the channels last in memory.",
        ),
    ] = False,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="Finetune through torch.compile: up to a minute more a trial, then faster.",
        ),
    ] = False,
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
    checkpoint_every: Annotated[
        str | None,
        typer.Option(
            help="Finetuning time between two checkpoints, which a kill loses at most. Default: "
            "30s; 0s is one after each epoch.",
            metavar="TIME",
        ),
    ] = None,
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
    storage_path: Annotated[
        str | None,
        typer.Option(
            help="What the nodes of a cluster share: a folder that all mount, or a URL such as "
            "s3://bucket/folder. Default: they see the same files.",
            metavar="PATH|URL",
        ),
    ] = None,
    submit: Annotated[
        bool,
        typer.Option(
            "--submit",
            help="Hand the search to a cluster as a job; --ray-address is its Jobs API, "
            "http://HEAD:8265.",
        ),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Follow a submitted search. Ctrl-C lets it go on."),
    ] = True,
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
        precision=precision,
        channels_last=channels_last,
        compile=compile,
        cpus_per_trial=cpus_per_trial,
        fix=tuple(fix or ()),
        baselines=baselines,
        finetune_epochs=finetune_epochs,
        sampler=sampler,
        pruner=pruner,
        warm_start=warm_start,
        checkpoint_every=checkpoint_every,
        confirm_seeds=confirm_seeds,
        confirm_recipes=confirm_recipes,
        out=out,
        tracking_uri=tracking_uri,
        storage=storage,
        ray_address=ray_address,
        storage_path=storage_path,
        cache_budget=cache_budget,
    )
    from energytune.data import get_dataset

    if submit:
        _submit(options, as_json, verbose, wait)
        return
    config = options.to_config(get_dataset(dataset).space)
    run_and_tell("search", options, config, as_json=as_json, verbose=verbose)


def _submit(options: SearchOptions, as_json: bool, verbose: bool, wait: bool) -> None:
    from energytune.cli.submit import cluster_words, submit_search
    from energytune.data import get_dataset

    if as_json:
        raise ConfigError(
            "--json is not for --submit: a job's output and messages come as one text. The "
            "search's folder holds all of it."
        )
    cluster_words(options)  # what is wrong with paths comes first
    here = options
    if options.space is not None and Path(options.space).is_absolute():
        here = replace(options, space=None)  # only the head can read it
    here.to_config(get_dataset(options.dataset).space)
    submit_search(options, verbose=verbose, wait=wait)
