"""Earlier searches of the same store, and the warm start that is made of them.

The store is where this search keeps its own: the folder beside its folder, and the database if it
has one. Only JSON is read, by our own records; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from energytune.config import SearchConfig
from energytune.json_text import parse_json, read_json
from energytune.optimizer import other_studies, records_from_study
from energytune.optimizer.past_search import PastSearch, energies_of, past_search
from energytune.optimizer.warm_start import WarmStart
from energytune.progress import NO_PROGRESS, Progress
from energytune.search.folder import RunFolder
from energytune.trial import TrialRecord, record_from_dict
from energytune.trial.map_curve import MapCurve

__all__ = ["earlier_searches", "warm_start_for"]

_MOST_SEARCHES = 20
_MOST_RECORDS = 400
"""Of one search, its confirmations among them: what a kernel can be summed over in no time."""
_MOST_NAMED = 3
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a file raises that is not ours, is cut short or was written over."""

_Found = tuple[str, list[TrialRecord]]


def warm_start_for(
    config: SearchConfig,
    folder: RunFolder,
    curves: Sequence[MapCurve],
    progress: Progress = NO_PROGRESS,
) -> WarmStart | None:
    """Returns the warm start of a search; None if it was not asked for.

    Args:
        config: The search.
        folder: Its folder.
        curves: Its energy map.
        progress: Told in one line which searches are asked, and in another which can't be read.

    Raises:
        ResourceError: If the search's database does not answer.
    """
    if not config.warm_start:
        return None
    energies = energies_of(
        (c.head.head_arch, c.head.label_smoothing, c.head.reinit_depth, c.snapshots) for c in curves
    )
    warm_start = WarmStart(energies, earlier_searches(config, folder, progress))
    progress.note(warm_start.describe())
    return warm_start


def earlier_searches(
    config: SearchConfig, folder: RunFolder, progress: Progress = NO_PROGRESS
) -> list[PastSearch]:
    """Returns the latest searches of the same store, at most 20, the latest first.

    Of each, trials count that had ended before this search's first one began: so a search that is
    continued learns what it would have learned without a stop.

    Args:
        config: This search.
        folder: Its folder, which is no history.
        progress: Told in one line which searches can't be read.

    Raises:
        ResourceError: If the search's database does not answer.
    """
    found, damaged = _beside(folder.path)
    if config.storage is not None:
        known = {name for name, _ in found} | {folder.study_name}
        studies, unread = _in_database(config.storage, known)
        found, damaged = found + studies, damaged + unread
    if damaged:
        shown = ", ".join(damaged[:_MOST_NAMED]) + (", ..." if len(damaged) > _MOST_NAMED else "")
        noun = "search" if len(damaged) == 1 else "searches"
        progress.note(f"{len(damaged)} earlier {noun} can't be read: {shown}")
    began_ms = min((r.started_ms for r in _own_records(folder)), default=None)
    if began_ms is not None:
        found = [(name, [r for r in rs if r.ended_ms < began_ms]) for name, rs in found]
    found.sort(key=lambda each: (-max((r.ended_ms for r in each[1]), default=0), each[0]))
    past = (past_search(name, records) for name, records in found[:_MOST_SEARCHES])
    return [search for search in past if search is not None]


def _beside(own: Path) -> tuple[list[_Found], list[str]]:
    """Returns the latest searches in folders beside one's own, and names of damaged ones."""
    found: list[_Found] = []
    damaged = []
    logs = [path for path in own.parent.glob("*/records.jsonl") if path.parent != own]
    logs = [path for path in logs if (path.parent / "search.json").is_file()]
    for log in sorted(logs, key=_changed, reverse=True)[:_MOST_SEARCHES]:
        try:
            read_json(log.parent / "search.json")["dataset"]
            found.append((log.parent.name, _read(log)))
        except _DAMAGE:
            damaged.append(log.parent.name)
    return found, damaged


def _in_database(storage: str, known: set[str]) -> tuple[list[_Found], list[str]]:
    """Returns the latest searches of a database that are not known, and names of damaged ones."""
    found: list[_Found] = []
    damaged = []
    for study in other_studies(storage, but=known, n_latest=_MOST_SEARCHES):
        try:
            records = records_from_study(study)
        except _DAMAGE:
            damaged.append(study.study_name)
            continue
        if records:  # else a study of somebody else's
            found.append((study.study_name, records))
    return found, damaged


def _own_records(folder: RunFolder) -> list[TrialRecord]:
    """Returns this search's records of earlier starts."""
    try:
        return _read(folder.records)
    except _DAMAGE:
        return []


def _read(log: Path) -> list[TrialRecord]:
    """Returns the records of a log; lines that were torn by a killed process are passed over.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: If it can't be read, or none
            of its lines is a record.
    """
    records = []
    problem: Exception | None = None
    with log.open(encoding="utf-8", errors="replace") as file:
        for line in islice(file, _MOST_RECORDS):
            try:
                records.append(record_from_dict(_slim(line)))
            except _DAMAGE as error:
                problem = error
    if problem is not None and not records:
        raise problem
    return records


def _slim(line: str) -> dict[str, Any]:
    """Returns the record of a line with its best finetuning epoch only, which is quick to build."""
    plain: dict[str, Any] = parse_json(line)
    epochs = plain["epochs"]
    plain["epochs"] = [max(epochs, key=lambda epoch: epoch["valid_acc"])] if epochs else []
    if plain["finished"] is not None:
        plain["finished"]["test"] = None
    return plain


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
