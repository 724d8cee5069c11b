"""``energytune probe`` and ``energytune diagnose``: the energy map, and what the guide says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energytune.cli.folders import RUNS_DIR
from energytune.cli.probe_options import ProbeOptions

if TYPE_CHECKING:
    from rich.console import Console

    from energytune.search.energy_map import EnergyMap

__all__ = ["diagnose", "probe"]


def probe(
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
    space: Annotated[
        str | None,
        typer.Option(help="Search space that gives what is not said here.", metavar="FILE|NAME"),
    ] = None,
    head: Annotated[list[str] | None, typer.Option(help="linear or mlp. Repeatable.")] = None,
    label_smoothing: Annotated[
        list[float] | None, typer.Option(help="Smoothing in probing, 0 to below 1. Repeatable.")
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option(help="Reinitialised last blocks, probed with the head. Repeatable."),
    ] = None,
    lr: Annotated[list[float] | None, typer.Option(help="Probing rate. Repeatable.")] = None,
    weight_decay: Annotated[
        list[float] | None, typer.Option(help="L2 penalty. Repeatable.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Initialisations of each head.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    tau_max: Annotated[
        int | None, typer.Option(help="Last probing epoch. Default: the space's largest tau.")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(help="Augmented views to probe on in turn. 1: the evaluation transform."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    cosine: Annotated[
        bool, typer.Option("--cosine", help="Let the rate fall to 0 at the last epoch.")
    ] = False,
    converged: Annotated[
        int | None,
        typer.Option(help="Stop a head whose HP-train-acc is the same in so many snapshots."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cache_budget: Annotated[
        str | None,
        typer.Option(help="Room for cached features, for example 20GB.", metavar="SIZE"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write the figure there (.png, .svg, .pdf).")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server. Default: SQLite in energytune-runs.")
    ] = None,
    track: Annotated[bool, typer.Option(help="Log the map to MLflow.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, all else on stderr.")
    ] = False,
) -> None:
    """Draw the energy map: what head probing learns and leaves, without any finetuning.

    Every tau of every head comes from one pass over features that are cached.
    """
    _run(locals(), findings=False)


def _like_probe(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of ``probe`` and its own name and help."""
    wrapped = functools.wraps(probe, assigned=("__annotations__",))(command)
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped


@_like_probe
def diagnose(**options: Any) -> None:
    """Draw the energy map and say what it means.

    Each finding is a phenomenon with its numbers, a hypothesis, what to try, and how sure it is.
    """
    _run(options, findings=True)


def _run(options: dict[str, Any], *, findings: bool) -> None:
    """Probes, prints, and writes what was asked for."""
    from energytune.cli.display import make_console, make_stages
    from energytune.cli.probe_text import print_energy_map, print_findings
    from energytune.report.style import save_figure

    plot, as_json = options.pop("plot"), options.pop("as_json")
    uri, track = options.pop("tracking_uri"), options.pop("track")
    _check_plot(plot)
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if value is not None
    }
    wanted = ProbeOptions(**given)
    console = make_console(to_stderr=as_json)
    with make_stages(console) as stages:
        energy_map = wanted.run(stages)
        if track:
            energy_map = _tracked(energy_map, uri, console)
    context = energy_map.context()
    print_energy_map(console, energy_map.frame, title=_title(energy_map), score=context.train_score)
    found = energy_map.findings(wanted.repeated()) if findings else []
    if findings:
        print_findings(console, found)
    if plot is not None:
        save_figure(energy_map.plot(), plot)
        console.print(f"Figure: {plot}", soft_wrap=True)
    if energy_map.link:
        console.print(f"MLflow, while `energytune ui` runs: {energy_map.link}", soft_wrap=True)
    if as_json:
        typer.echo(energy_map.to_json(found if findings else None))


def _title(energy_map: EnergyMap) -> str:
    from energytune.cli.duration import format_seconds

    seconds = energy_map.seconds
    return (
        f"{energy_map.dataset} with {energy_map.backbone} ({len(energy_map.curves)} heads, "
        f"{energy_map.n_train:,} training samples, {format_seconds(sum(seconds.values()))})"
    )


def _check_plot(plot: Path | None) -> None:
    """Raises ConfigError before anything is computed if the figure can't be written so."""
    from energytune.errors import ConfigError

    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--plot must end in .png, .svg or .pdf, got {plot}.")


def _tracked(energy_map: EnergyMap, uri: str | None, console: Console) -> EnergyMap:
    """Logs the map; where MLflow can't be reached, says so and goes on."""
    from energytune.errors import TrackingError
    from energytune.search.track_map import track_map

    try:
        return track_map(energy_map, RUNS_DIR, uri)
    except TrackingError as error:
        reason = str(error).split(" Nothing is lost")[0]
        console.print(f"The map was not logged to MLflow: {reason}", soft_wrap=True)
        return energy_map
