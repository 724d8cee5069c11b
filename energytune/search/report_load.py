"""Reads a search again from its folder or its study: one that has ended, was killed, or runs.

Only JSON is read; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError, OutputError
from energytune.json_text import parse_json, read_json
from energytune.optimizer import best_first, load_study, records_from_study
from energytune.science.noise import seed_noise
from energytune.search.about import config_of, read_about, result_of
from energytune.search.folder import RunFolder
from energytune.search.records_log import RecordsLog
from energytune.search.report_input import State
from energytune.search.result import TuneResult
from energytune.trial import TrialRecord, record_from_dict
from energytune.trial.builder import INTERRUPTED

__all__ = ["LoadedSearch", "load_search", "load_search_of_study"]

_IDENTITY = ("search_id", "data", "weights")
"""What ``search.json`` holds beside settings."""
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class LoadedSearch:
    """A search, read again.

    Attributes:
        result: As far as it has come. Its winner is the best so far if it has not ended.
        state: ``"running"`` also stands for one that was killed.
        n_waiting: Trials that are running or paused, if it has not ended.
        notes: What could not be read.
    """

    result: TuneResult
    state: State
    n_waiting: int = 0
    notes: tuple[str, ...] = ()


def load_search(folder: Path) -> LoadedSearch:
    """Reads a search from its folder.

    Args:
        folder: The search's ``out``, wherever it lies now.

    Raises:
        OutputError: There is no search in it, or its files are damaged.
    """
    folder = folder.expanduser().absolute()
    about = read_about(folder / "about.json")
    config = _config(folder, about)
    paths = RunFolder(config)
    records, n_damaged = _read_trials(paths.records)
    confirmations = _confirmations(paths.records)
    notes = _damage_note(n_damaged)
    n_waiting = 0
    if about is None or about.get("end") is None:
        n_waiting = _n_unfinished(paths)
    return _loaded(about or {}, config, records, confirmations, n_waiting, notes)


def load_search_of_study(storage: str, name: str) -> LoadedSearch:
    """Reads a search from its study; its folder too, if that lies on this machine.

    Args:
        storage: Optuna's storage URL.
        name: Name of the study.

    Raises:
        UnknownNameError: The storage holds no such study.
        ConfigError: The URL can't be understood, or its driver is not installed.
        OutputError: The study is of another program, or its folder is damaged.
        ResourceError: The database does not answer.
    """
    study = load_study(storage, name)
    try:
        about = study.user_attrs.get("energytune")
    except RecursionError:  # Optuna copies them, however deep they are
        about = None
    if not isinstance(about, dict):
        raise OutputError(
            f"The study {name!r} was not made by energytune, or by an earlier version, and does "
            "not say what was searched. Name the folder of the search instead."
        )
    try:
        records = records_from_study(study)
        config = config_of(about, Path(name))
    except _DAMAGE as error:
        raise OutputError(
            f"The study {name!r} is damaged, or was made by another version: {error!r}. Name the "
            "folder of the search instead."
        ) from error
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    note = (
        "Made from the study alone: runs on further seeds and the test are in the search's folder, "
        "which is not on this machine.",
    )
    return _loaded(about, config, records, [], states.count("RUNNING"), note)


def _loaded(
    about: Mapping[str, Any],
    config: SearchConfig,
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord],
    n_waiting: int,
    notes: tuple[str, ...],
) -> LoadedSearch:
    try:
        ended = result_of(about, records, confirmations, config.out)
    except _DAMAGE as error:
        ended = None
        notes = (*notes, f"How the search ended can't be read ({error!r}): taken as not ended.")
    if ended is not None:
        state: State = "interrupted" if ended.interrupted else "ended"
        return LoadedSearch(ended, state, notes=notes)
    unfinished = _unfinished(about, config, records, confirmations)
    return LoadedSearch(unfinished, "running", n_waiting, notes)


def _unfinished(
    about: Mapping[str, Any],
    config: SearchConfig,
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord],
) -> TuneResult:
    """Returns what is known of a search that has no end: its best trial so far is the winner."""
    metric = about.get("metric", "accuracy")
    n_valid = about.get("n_valid") if metric == "accuracy" else None
    groups: dict[Hashable, list[float]] = {}
    for run in confirmations:
        if run.objective is not None:
            groups.setdefault(run.job.number, []).append(run.objective)
    paths = RunFolder(config)
    return TuneResult(
        config=config,
        out=config.out,
        records=list(records),
        confirmations=list(confirmations),
        winner=next(iter(best_first(records, n_valid)), None),
        baselines=_baselines(records),
        seed_noise=seed_noise(groups),
        storage=paths.storage,
        study_name=paths.study_name,
        metric=metric,
        about=about,
    )


def _baselines(records: Sequence[TrialRecord]) -> dict[str, TrialRecord]:
    names = {"baseline_tau_0": "tau=0", "baseline_tau_max": "tau=max"}
    found = {names[r.job.role]: r for r in records if r.job.role in names and r.finished}
    return {name: found[name] for name in names.values() if name in found}


def _config(folder: Path, about: Mapping[str, Any] | None) -> SearchConfig:
    marker = folder / "search.json"
    advice = "Name the folder of a search (its --out), or start one with `energytune search`."
    try:
        if about is not None:
            return config_of(about, folder)
        plain = read_json(marker)
        kept = {name: value for name, value in plain.items() if name not in _IDENTITY}
        return SearchConfig.model_validate({**kept, "out": folder})
    except FileNotFoundError:
        raise OutputError(f"{folder} holds no search. {advice}") from None
    except (OSError, *_DAMAGE) as error:
        raise OutputError(f"{marker} can't be read: {error}. {advice}") from error


def _read_trials(log: Path) -> tuple[list[TrialRecord], int]:
    """Returns the trials that have ended, by number, and how many lines could not be read.

    Of a trial that was run again the last record counts.
    """
    found: dict[int, TrialRecord] = {}
    n_damaged = 0
    try:
        file = log.open(encoding="utf-8", errors="replace")  # a damaged line is no JSON
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise OutputError(f"{log} can't be read: {error.strerror or error}.") from error
    with file:
        for line in file:
            try:
                plain = parse_json(line)
                if plain["job"]["role"] in ("confirm", "test"):
                    continue
                record = record_from_dict(plain)
            except _DAMAGE:
                n_damaged += 1
                continue
            if record.reason != INTERRUPTED:
                found[record.job.number] = record
    return [found[number] for number in sorted(found)], n_damaged


def _confirmations(log: Path) -> list[TrialRecord]:
    try:
        found = RecordsLog(log).confirmations()
    except OSError as error:
        raise OutputError(f"{log} can't be read: {error.strerror or error}.") from error
    return sorted(found, key=lambda r: (r.job.number, r.job.seed))


def _n_unfinished(paths: RunFolder) -> int:
    """Returns how many trials of the study run or wait; 0 where it can't be read."""
    if not paths.study.is_file():
        return 0
    try:
        study = load_study(f"journal://{paths.study}", paths.study_name)
    except EnergyTuneError:
        return 0
    return sum(t.state.name == "RUNNING" for t in study.get_trials(deepcopy=False))


def _damage_note(n_damaged: int) -> tuple[str, ...]:
    if not n_damaged:
        return ()
    lines = "1 line" if n_damaged == 1 else f"{n_damaged} lines"
    return (f"{lines} of records.jsonl could not be read: left out.",)
