"""``energytune report``: the page of a search, written again or for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.folders import RUNS_DIR
from energytune.errors import OutputError

__all__ = ["report"]


def report(
    search: Annotated[
        str,
        typer.Argument(
            help="Folder of a search, or of several: the latest. With --storage: name of a study.",
            metavar="DIR|STUDY",
        ),
    ] = str(RUNS_DIR),
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL that holds the study.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: report.html in the search's folder."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Write the page of a search: one HTML file that loads nothing.

    Every search writes it at its end. This does it again, also for a search that was killed or
    still runs.
    """
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"--out must end in .html, got {out}. Try {out.with_suffix('.html')}.")
    from energytune.search.report_load import load_search, load_search_of_study
    from energytune.search.report_write import write_report

    if storage is not None:
        loaded = load_search_of_study(storage, search)
        path = out or Path(f"{Path(search).name}-report.html")
    else:
        loaded = load_search(_folder(Path(search)))
        path = out or loaded.result.report_path
    write_report(
        loaded.result, path, state=loaded.state, n_waiting=loaded.n_waiting, notes=loaded.notes
    )
    for note in loaded.notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"Report: {path}")
    if open_browser and not _open(path):
        typer.echo("No browser could be opened; open the file yourself.", err=True)


def _folder(named: Path) -> Path:
    """Returns the search's folder that is meant: itself, or the latest one in it.

    Raises:
        OutputError: There is none.
    """
    if (named / "search.json").is_file():
        return named
    inside = [path.parent for path in named.glob("*/search.json")]
    if inside:
        return max(inside, key=lambda path: (path / "search.json").stat().st_mtime)
    state = "holds no search" if named.is_dir() else "is no folder"
    raise OutputError(
        f"{named} {state}. Name the folder of a search (its --out), or a study together with "
        "--storage."
    )


def _open(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())
