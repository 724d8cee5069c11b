"""The version of what energytune stores in a study: stamped, checked, migrated.

1. No stamp. Trials that a killed search left RUNNING failed and were run again as new ones.
2. They go on under their numbers. What is stored of a trial is as before, so that a study of
   version 1 needs no change but its stamp; an earlier energytune would run such trials twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from optuna.study import Study

from energytune.errors import OutputError

__all__ = ["STUDY_VERSION", "bring_up_to_date"]

STUDY_VERSION = 2
_STAMP = "energytune_version"
_COPIED = "is_whole_copy"
_JOURNAL = "journal://"


def _stamp_alone(study: Study) -> None:
    """From 1 to 2: see above."""


_STEPS: Mapping[int, Callable[[Study], None]] = {1: _stamp_alone}
"""What brings a study of each version to the next one."""


def bring_up_to_date(study: Study, storage: str) -> str:
    """Stamps a new study; migrates one of an earlier version, after a copy was made.

    Args:
        study: Held by this process.
        storage: Where it is, as in :func:`energytune.optimizer.open_study`.

    Returns:
        Where the copy is; empty if none was needed.

    Raises:
        OutputError: The study was written by a later version, or the copy can't be written.
    """
    found = study.user_attrs.get(_STAMP)
    if found is None:
        found = 1 if study.get_trials(deepcopy=False) else STUDY_VERSION
    elif not isinstance(found, int) or found > STUDY_VERSION:
        raise OutputError(
            f"The study {study.study_name!r} was written by a later energytune (version {found} "
            f"of its content, this one knows {STUDY_VERSION}). Update energytune, or choose "
            "another output folder."
        )
    copy = _copy(study, storage, found) if found < STUDY_VERSION else ""
    for version in range(found, STUDY_VERSION):
        _STEPS[version](study)
    if study.user_attrs.get(_STAMP) != STUDY_VERSION:  # last: half a migration is begun again
        study.set_user_attr(_STAMP, STUDY_VERSION)
    return copy


def _copy(study: Study, storage: str, version: int) -> str:
    """Copies a study before it is changed; a copy that is there already is the right one."""
    if storage.startswith(_JOURNAL):
        path = Path(storage.removeprefix(_JOURNAL))
        target = path.with_name(f"{path.name}.version{version}")
        if not target.exists():
            part = target.with_name(f"{target.name}.part")
            try:
                shutil.copyfile(path, part)
                part.rename(target)
            except OSError as error:
                raise OutputError(
                    f"The study's journal can't be copied to {target} before it is migrated: "
                    f"{error.strerror or error}. Make room, then run the same command again."
                ) from error
        return str(target)
    name, there = f"{study.study_name}-version{version}", study._storage
    if name in [found.study_name for found in there.get_all_studies()]:
        if optuna.load_study(study_name=name, storage=there).user_attrs.get(_COPIED):
            return f"the study {name!r} beside it"
        optuna.delete_study(study_name=name, storage=there)  # killed half way
    optuna.copy_study(
        from_study_name=study.study_name, from_storage=there, to_storage=there, to_study_name=name
    )
    optuna.load_study(study_name=name, storage=there).set_user_attr(_COPIED, True)
    return f"the study {name!r} beside it"
