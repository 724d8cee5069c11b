"""Which search a folder on the command line means."""

from __future__ import annotations

from pathlib import Path

from energytune.errors import OutputError

__all__ = ["RUNS_DIR", "find_searches", "find_store"]

RUNS_DIR = Path("energytune-runs")
"""Where searches lie that name no ``--out``; they share one MLflow store."""

_JOURNAL = "tracking.jsonl"
_STORE = "mlflow.db"


def find_searches(folder: Path) -> list[Path]:
    """Returns the folders of searches that are tracked: the folder itself, or those in it.

    Raises:
        OutputError: There is none.
    """
    if (folder / _JOURNAL).is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{_JOURNAL}"))
    if not inside:
        raise _nothing_there(folder)
    return inside


def find_store(folder: Path) -> Path:
    """Returns the folder of the MLflow store to show: of a search, or the one several share.

    Raises:
        OutputError: There is none.
    """
    folder = folder.absolute()
    if (folder / _STORE).is_file():
        return folder
    if (folder / _JOURNAL).is_file():
        return folder.parent if (folder.parent / _STORE).is_file() else folder
    raise _nothing_there(folder)


def _nothing_there(folder: Path) -> OutputError:
    state = "holds no search" if folder.is_dir() else "is no folder"
    return OutputError(
        f"{folder} {state}. Name the folder of a search (its --out), or start one with "
        "`energytune search --dataset digits`."
    )
