"""``energytune search --submit``: the same command, run by a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import typer

from energytune.cli.options import SearchOptions
from energytune.errors import ConfigError

__all__ = ["cluster_words", "submit_search"]


def submit_search(options: SearchOptions, *, verbose: bool, wait: bool) -> None:
    """Hands a search to the cluster and shows its output.

    Args:
        options: Of the search; its address is that of the Jobs API.
        verbose: Whether the search tells more.
        wait: Whether its output is followed to its end.

    Raises:
        ConfigError: An option would mean something else on the head than here.
        ResourceError: The cluster can't be reached.
        typer.Exit: With the job's exit code, or 130 after Ctrl-C.
    """
    from energytune.cluster.submit import jobs_address, submit

    words = cluster_words(options)
    address = jobs_address(options.ray_address)
    job = submit(
        address,
        [*words, "--verbose"] if verbose else words,
        {"energytune": "search", "dataset": options.dataset, "out": str(options.out)},
    )
    typer.echo(f"Submitted to {address} as {job.id}", err=True)
    advice = (
        f"Look at it, or stop it, with:\n  {job.look_command}\n  {job.stop_command}\n"
        "The same command with the same --out goes on where it was stopped."
    )
    if not wait:
        typer.echo(advice, err=True)
        return
    try:
        code = job.follow(lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nNo longer watched; the search goes on. {advice}", err=True)
        raise typer.Exit(130) from None
    if code:
        raise typer.Exit(code)


def cluster_words(options: SearchOptions) -> list[str]:
    """Returns the words behind ``energytune`` of the command that the head runs.

    Raises:
        ConfigError: A path is relative, or ``--out`` is missing: the job runs in a folder of its
            own, which Ray deletes. All of them are told at once.
    """
    problems = list(_problems(options))
    if problems:
        raise ConfigError(
            "--submit runs the search on the head of the cluster, where a path of this machine "
            "means nothing:" + "".join(f"\n  {problem}" for problem in problems)
        )
    return shlex.split(replace(options, ray_address="auto").command())[1:]


def _problems(options: SearchOptions) -> Iterator[str]:
    from energytune.config import list_spaces
    from energytune.data import absolute_name

    if options.out is None:
        yield "--out must be given: a folder that the head sees, such as /shared/my-search"
    paths = {
        "--out": options.out,
        "--checkpoint": options.checkpoint,
        "--data-root": options.data_root,
    }
    if options.space is not None and options.space not in list_spaces():
        paths["--space"] = Path(options.space)
    for name, path in paths.items():
        if path is not None and not path.is_absolute():
            yield f"{name} must be an absolute path on the head, got {str(path)!r}"
    if absolute_name(options.dataset) != options.dataset:
        yield f"--dataset must hold an absolute path on the head, got {options.dataset!r}"
    for name, url in (("--storage", options.storage), ("--tracking-uri", options.tracking_uri)):
        if url is not None and url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            yield f"{name} must hold an absolute path on the head, got {url!r}"
