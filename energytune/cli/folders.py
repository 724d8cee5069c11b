"""Which search a folder on the command line means."""

from __future__ import annotations

from pathlib import Path

from energytune.errors import OutputError

__all__ = ["JOURNAL", "RUNS_DIR", "STORE", "champion_store", "find_searches", "find_store"]

RUNS_DIR = Path("energytune-runs")
"""Where searches lie that name no ``--out``; they share one MLflow store."""

JOURNAL = "tracking.jsonl"
"""File of a tracked search in its folder."""
STORE = "mlflow.db"
"""File of an MLflow store in its folder."""


def find_searches(folder: Path) -> list[Path]:
    """Returns the folders of searches that are tracked: the folder itself, or those in it.

    Raises:
        OutputError: There is none.
    """
    if (folder / JOURNAL).is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{JOURNAL}"))
    if not inside:
        raise _nothing_there(folder)
    return inside


def find_store(folder: Path) -> Path:
    """Returns the folder of the MLflow store to show: of a search, or the one several share.

    Raises:
        OutputError: There is none.
    """
    folder = folder.absolute()
    if (folder / STORE).is_file():
        return folder
    if (folder / JOURNAL).is_file():
        return folder.parent if (folder.parent / STORE).is_file() else folder
    raise _nothing_there(folder)


def champion_store(folder: Path, uri: str | None) -> str:
    """Returns the MLflow URI where the models of a folder's searches are registered.

    Args:
        folder: Of a search, whose own store it is, wherever that is; or of several searches,
            which is the store they share.
        uri: Named by the user; None looks into the folder.

    Raises:
        OutputError: There is no store, or there are several.
    """
    if uri is not None:
        return uri
    from energytune.tracking.drain import last_uri
    from energytune.tracking.store import default_uri

    if not (folder / JOURNAL).is_file() and (folder / STORE).is_file():
        return default_uri(folder)
    uris = {last_uri((s / JOURNAL).absolute()) for s in find_searches(folder)} - {None}
    if len(uris) == 1:
        return str(*uris)
    if not uris:
        return default_uri(find_store(folder))
    raise OutputError(
        f"The searches in {folder} are tracked in {len(uris)} places. Name the folder of one "
        "search, or one place with --tracking-uri."
    )


def _nothing_there(folder: Path) -> OutputError:
    state = "holds no search" if folder.is_dir() else "is no folder"
    return OutputError(
        f"{folder} {state}. Name the folder of a search (its --out), or start one with "
        "`energytune search --dataset digits`."
    )
