"""Opens the study, which is the one truth of a search.

Optuna's journal file is read whole at the start and then only where it has grown; a write is
an append.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study, StudyDirection

from energytune.errors import (
    ConfigError,
    EnergyTuneError,
    MissingDataError,
    OutputError,
    ResourceError,
    unknown_name,
)
from energytune.optimizer.patient import PatientStorage
from energytune.redact import redact

__all__ = ["load_study", "open_study", "other_studies", "quiet_optuna"]

_JOURNAL = "journal://"


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within it Optuna logs errors only; the level is restored afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(storage: str, name: str, *, sampler: BaseSampler, pruner: BasePruner) -> Study:
    """Opens the study ``name``, or creates it; it maximises validation accuracy.

    Args:
        storage: ``"journal:///absolute/path"`` of a journal file, or the URL of a database
            (``"sqlite:///file.db"``, ``"postgresql://user:password@host/db"``).
        name: Name of the study within the storage.
        sampler: See :func:`energytune.optimizer.make_sampler`.
        pruner: See :func:`energytune.optimizer.make_pruner`.

    Raises:
        ConfigError: If the URL can't be understood or its driver is not installed.
        OutputError: If the journal can't be written or is damaged, or the study is not ours.
        ResourceError: If the database does not answer.
    """
    with quiet_optuna():
        opened = _open(storage)
        study = optuna.create_study(
            storage=opened,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=sampler,
            pruner=pruner,
        )
    if study.direction != StudyDirection.MAXIMIZE:
        raise OutputError(
            f"The study {name!r} in {redact(storage)} minimises, so it belongs to "
            "another search. Choose another storage or output folder."
        )
    return study


def load_study(storage: str, name: str) -> Study:
    """Loads the study of an earlier search, to look at.

    Args:
        storage: As in :func:`open_study`.
        name: Name of the study within the storage.

    Raises:
        MissingDataError: If there is no such journal file.
        UnknownNameError: If the storage holds no study of that name.
        ConfigError: See :func:`open_study`.
        OutputError: See :func:`open_study`.
        ResourceError: See :func:`open_study`.
    """
    if storage.startswith(_JOURNAL) and not Path(storage.removeprefix(_JOURNAL)).exists():
        raise MissingDataError(
            f"There is no study at {storage}. Name the output folder of a search that has begun."
        )
    with quiet_optuna():
        opened = _open(storage)
        try:
            known = [str(study.study_name) for study in opened.get_all_studies()]
        except RecursionError:  # Optuna copies all that a study holds, however deep it is
            raise OutputError(
                f"The study in {redact(storage)} is damaged: its values are nested too deep. "
                "Restore it from a copy."
            ) from None
        if name not in known:
            raise unknown_name("study", name, known, f"Storage: {redact(storage)}.")
        return optuna.load_study(study_name=name, storage=opened)


def other_studies(storage: str, *, but: Collection[str], n_latest: int) -> list[Study]:
    """Returns the latest studies of a storage, the latest first, to look at.

    Args:
        storage: As in :func:`open_study`.
        but: Names of studies to leave out.
        n_latest: How many at most.

    Raises:
        ConfigError: See :func:`open_study`.
        OutputError: See :func:`open_study`.
        ResourceError: See :func:`open_study`.
    """
    with quiet_optuna():
        opened = _open(storage)
        found = sorted(opened.get_all_studies(), key=lambda s: s._study_id, reverse=True)
        names = [study.study_name for study in found if study.study_name not in but]
        return [optuna.load_study(study_name=n, storage=opened) for n in names[:n_latest]]


class _Journal(JournalFileBackend):
    """A journal file that syncs where a state changes, and that a full disk can't damage.

    Optuna's own syncs every line: some 600 times in a search of 30 trials, up to 9 ms each while
    other processes write. What is not synced survives a killed process all the same, and a power
    cut can only take lines of trials that had not ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers = JournalFileSymlinkLock(str(path))
        super().__init__(str(path), lock_obj=self._writers)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            self._writers.acquire()
            try:
                self._append(lines.encode(), sync=any("state" in log for log in logs))
            finally:
                self._writers.release()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _append(self, lines: bytes, *, sync: bool) -> None:
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                while lines:
                    lines = lines[file.write(lines) :]
                if sync:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(size)  # half a line would be glued to the next one
                raise


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The study's journal {path} can't be written: {error.strerror or error}. Make room or "
        "choose another folder, then run the same command again to go on."
    )


def _open(url: str) -> BaseStorage:
    return _open_journal(url) if url.startswith(_JOURNAL) else _open_database(url)


def _open_journal(url: str) -> BaseStorage:
    path = Path(url.removeprefix(_JOURNAL))
    if not path.is_absolute():
        raise ConfigError(
            f"storage must name an absolute path, journal:///folder/study.journal. Got {url!r}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        _drop_torn_tail(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        return JournalStorage(_Journal(path))
    except EnergyTuneError:
        raise
    except Exception as error:  # Optuna takes its lines as they are: they raise whatever they do
        raise OutputError(
            f"The study's journal {path} is damaged or is no journal: {error!r}. Restore it from "
            "a copy or choose another folder."
        ) from error


def _drop_torn_tail(path: Path) -> None:
    """Cuts a last line without its end, left by a process that was killed while writing."""
    content = path.read_bytes()
    if not content or content.endswith(b"\n"):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _open_database(url: str) -> BaseStorage:
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    shown = redact(url)
    try:
        # a connection that was lost with its server is noticed before it is used
        opened = get_storage(RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
        return PatientStorage(opened, shown)
    except RuntimeError as error:
        raise OutputError(
            f"The database {shown!r} has tables of another version of Optuna than "
            f"{optuna.__version__}: {error} Make a copy of it, then bring it up to date with "
            "`optuna storage upgrade --storage URL`."
        ) from error
    except ArgumentError as error:
        raise ConfigError(
            f"storage must be journal:///path, sqlite:///path or a database URL. Got {shown!r}: "
            f"{redact(str(error), url)}."
        ) from error
    except ValueError:  # its text may hold a part of the password
        raise ConfigError(
            f"storage {shown!r} has a port that is no number. Write @, / and : in a password as "
            "%40, %2F and %3A."
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"storage {shown!r} needs a database driver that is not installed "
            f"({redact(str(error.__cause__ or error), url)}). Install it with pip, for PostgreSQL "
            "psycopg2-binary."
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ResourceError(
            f"The database {shown!r} does not answer: {redact(str(error), url)}. Check "
            "that it runs and that user, password and database are right."
        ) from error
