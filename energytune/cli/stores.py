"""``energytune ui`` and ``energytune sync``: what to do with the records of a search."""

from __future__ import annotations

import shlex
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.folders import (
    JOURNAL,
    RUNS_DIR,
    STORE,
    champion_store,
    find_searches,
    find_store,
)

__all__ = ["sync", "ui"]

_STUDY = "study.journal"
_N_STUDIES = 3

_Folder = Annotated[Path, typer.Argument(help="Folder of a search, or of several searches.")]


def ui(
    folder: _Folder = RUNS_DIR,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store or server. Default: the one of the searches.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port. Default: 5000, or a free one.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Show searches in MLflow's UI, with a link to each.

    It listens on this machine only unless --host says more; Ctrl-C ends it.
    """
    uri = tracking_uri or _store(folder.absolute())
    from energytune.tracking import serve_ui

    for study in _studies(folder) if find_spec("optuna_dashboard") is not None else []:
        typer.echo(f"Optuna's own pages: {shlex.join(['optuna-dashboard', str(study)])}")

    # A launcher that is told to end (a service manager, a closed session) stops its server too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve_ui(uri, host=host, port=port, open_browser=browser, say=typer.echo)
    finally:
        signal.signal(signal.SIGTERM, before)


def _store(folder: Path) -> str:
    """Returns the MLflow URI to show: where a search was tracked, or the store in the folder."""
    from energytune.tracking import default_uri
    from energytune.tracking.drain import last_uri
    from energytune.tracking.store import sqlite_path

    if (folder / JOURNAL).is_file():
        uri = last_uri(folder / JOURNAL)
        path = sqlite_path(uri) if uri else None
        if uri and (path is None or path.exists()):  # a folder that was moved has another path
            return uri
    elif not (folder / STORE).is_file():
        return champion_store(folder, None)
    return default_uri(find_store(folder))


def _studies(folder: Path) -> list[Path]:
    """Returns the journals of the latest studies in a folder, the latest first."""
    found = [*folder.absolute().glob(_STUDY), *folder.absolute().glob(f"*/{_STUDY}")]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:_N_STUDIES]


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
