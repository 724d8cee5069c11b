"""``energytune champion``: who is champion of a data set, why, and changing it by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energytune.cli.folders import RUNS_DIR, champion_store

if TYPE_CHECKING:
    from energytune.tracking.history import ChampionHistory

__all__ = ["champion_app"]

champion_app = typer.Typer(
    no_args_is_help=True,
    help="Show which registered model is champion of a dataset and why, or change it by hand.",
)

_Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of a search, or of several. Default: energytune-runs."),
]
_Dataset = Annotated[str, typer.Option(help="Dataset, as in `energytune search`.")]
_Uri = Annotated[
    str | None,
    typer.Option(
        help="MLflow server or database. Default: the store of FOLDER; without one, "
        "MLFLOW_TRACKING_URI."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Reason = Annotated[str, typer.Option(help="Why, for the history.")]


@champion_app.command()
def show(
    dataset: _Dataset,
    folder: _Folder = None,
    tracking_uri: _Uri = None,
    as_json: _Json = False,
) -> None:
    """Show the champion, its score, recipe and code, and why it is champion."""
    uri = _store(folder, tracking_uri)
    from energytune.tracking.history import champion_history

    _print_champion(champion_history(uri, dataset), as_json)


@champion_app.command()
def history(
    dataset: _Dataset,
    folder: _Folder = None,
    tracking_uri: _Uri = None,
    as_json: _Json = False,
) -> None:
    """List every version with its score, the numbers and the decision, by whom and when."""
    uri = _store(folder, tracking_uri)
    from energytune.cli.champion_text import print_history
    from energytune.cli.display import make_console
    from energytune.tracking.history import champion_history

    found = champion_history(uri, dataset)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_history(make_console(), found)


@champion_app.command()
def promote(
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    dataset: _Dataset,
    folder: _Folder = None,
    reason: _Reason = "",
    tracking_uri: _Uri = None,
    as_json: _Json = False,
) -> None:
    """Make a version champion by hand.

    Later searches respect it: only versions that come after it challenge it, by evidence.
    """
    uri = _store(folder, tracking_uri)
    from energytune.tracking.history import promote_version

    _print_champion(promote_version(uri, dataset, version, reason), as_json)


@champion_app.command()
def rollback(
    dataset: _Dataset,
    folder: _Folder = None,
    reason: _Reason = "",
    tracking_uri: _Uri = None,
    as_json: _Json = False,
) -> None:
    """Go back to the champion before the present one; again goes one further back."""
    uri = _store(folder, tracking_uri)
    from energytune.tracking.history import rollback as go_back

    _print_champion(go_back(uri, dataset, reason), as_json)


def _store(folder: Path | None, tracking_uri: str | None) -> str:
    """Returns the store that is meant; the order is that of ``energytune predict``."""
    if folder is None and tracking_uri is None:
        tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    return champion_store(folder or RUNS_DIR, tracking_uri)


def _print_champion(found: ChampionHistory, as_json: bool) -> None:
    from energytune.cli.champion_text import print_champion
    from energytune.cli.display import make_console

    if not as_json:
        print_champion(make_console(), found)
        return
    rows = {row.version: row.to_dict() for row in found.rows}
    champion = rows.get(found.champion) if found.champion is not None else None
    plain = found.to_dict()
    document = {key: plain[key] for key in ("name", "champion", "promotions")}
    typer.echo(json.dumps({**document, "uri": found.uri, "version": champion}, indent=2))
