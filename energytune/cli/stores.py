"""``energytune ui`` and ``energytune sync``: what to do with the records of a search."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.folders import RUNS_DIR, find_searches, find_store

__all__ = ["sync", "ui"]

_Folder = Annotated[Path, typer.Argument(help="Folder of a search, or of several searches.")]


def ui(
    folder: _Folder = RUNS_DIR,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port. Default: 5000, or a free one.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Show searches in MLflow's UI.

    It listens on this machine only unless --host says more; Ctrl-C ends it.
    """
    store = find_store(folder)
    from energytune.tracking import serve_ui

    # A launcher that is told to end (a service manager, a closed session) stops its server too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve_ui(store, host=host, port=port, open_browser=browser)
    finally:
        signal.signal(signal.SIGTERM, before)


def sync(
    folder: _Folder = RUNS_DIR,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server. Default: the one of the search.")
    ] = None,
) -> None:
    """Send to MLflow what it has missed.

    For a tracking server that was down during a search; nothing is sent twice.
    """
    searches = find_searches(folder)
    from energytune.tracking import sync as send

    for search in searches:
        sent = send(search, uri=tracking_uri)
        typer.echo(f"{search}: {sent.n_runs} runs ({sent.n_entries} entries) are in {sent.uri}")
        if sent.n_unreadable:
            typer.echo(f"  {sent.n_unreadable} torn lines of the journal were left out")
        for uid, reason in sent.rejected.items():
            typer.echo(f"  {uid} was refused: {reason}")
        if sent.model is not None:
            typer.echo(f"  model {sent.model.name} version {sent.model.version}")
