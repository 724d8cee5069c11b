"""Goes on with a search from its folder or its study, without its options being repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energytune.config import SearchConfig, search_config
from energytune.errors import ConfigError, OutputError
from energytune.optimizer import load_study
from energytune.search.about import config_of, read_about

__all__ = ["CHANGEABLE", "resumed_config"]

CHANGEABLE = (
    *("concurrency", "cpus_per_trial", "gpus_per_trial", "ray_address"),
    *("time_budget_s", "gpu_hours", "max_disk"),
    *("tracking_uri", "storage", "storage_path"),
)
"""Settings that may be others than before, beside the number of trials."""


def resumed_config(
    search: str | Path,
    *,
    n_trials: int | str | None = None,
    storage: str | None = None,
    out: Path | None = None,
    **changes: Any,
) -> SearchConfig:
    """Returns the settings with which a search goes on.

    Args:
        search: Folder of the search; with ``storage``, the name of its study.
        n_trials: Trials in all, or ``"+20"`` for so many more; a limit of finetuning epochs or of
            convergence that may have ended the search is then lifted. None is as before.
        storage: Optuna storage URL of the study; needed where it holds a password, which is
            stored nowhere.
        out: Folder of the search, where ``search`` is a study and the folder was moved.
        **changes: Of :data:`CHANGEABLE`; None is as before.

    Raises:
        OutputError: There is no search, or it was killed before its first trial.
        ConfigError: Its data or backbone were Python objects, or a setting breaks a rule.
        EnergyTuneError: The storage can't be read, or holds no such study.
    """
    folder, about = _find(search, storage, out)
    objects = [what for what in ("user_data", "user_module") if about.get(what)]
    if objects:
        names = " and ".join("data" if what == "user_data" else "backbone" for what in objects)
        raise ConfigError(
            f"The {names} of the search in {folder} came as Python objects, which no file holds. "
            f"Call tune() again with the same objects and out={str(folder)!r}: that goes on."
        )
    try:
        config = config_of(about, folder)
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{folder / 'about.json'} does not hold the settings of a search ({error}). Repeat "
            f"the command that began it, with --out {folder}: that goes on too."
        ) from error
    values = {name: getattr(config, name) for name in SearchConfig.model_fields}
    values |= {name: value for name, value in changes.items() if value is not None}
    if storage is not None:
        values["storage"] = storage
    if n_trials is not None:
        values |= {"n_trials": _n_trials(n_trials, config.n_trials), "until": "trials"}
        values["ft_epochs_budget"] = None
    return search_config(**values)


def _find(
    search: str | Path, storage: str | None, out: Path | None
) -> tuple[Path, Mapping[str, Any]]:
    """Returns a search's folder and what it runs on, from its folder or from its study."""
    folder = Path(search)
    if storage is not None and not (folder / "about.json").is_file():
        about = load_study(storage, str(search)).user_attrs.get("energytune")
        if not isinstance(about, dict):
            raise OutputError(
                f"The study {str(search)!r} does not say what was searched: it was not made by "
                "energytune, or was killed before its first trial. Repeat the command that "
                "began it."
            )
        folder = out or Path(str(about.get("folder", "")))
        if not (folder / "search.json").is_file():
            raise OutputError(
                f"The folder of the study {str(search)!r}, {str(folder)!r}, is not on this "
                "machine. Name where it is now with --out."
            )
        return folder, about
    about = read_about(folder / "about.json")
    if about is not None:
        return folder, about
    if not (folder / "search.json").is_file():
        state = "holds no search" if folder.is_dir() else "is no folder"
        raise OutputError(
            f"{folder} {state}. Name the folder of a search (its --out), or a study together "
            "with --storage."
        )
    raise OutputError(
        f"The search in {folder} was killed before its first trial: there is nothing to go on "
        f"from yet. Repeat the command that began it, with --out {folder}."
    )


def _n_trials(wanted: int | str, before: int) -> int:
    if isinstance(wanted, int):
        return wanted
    hit = re.fullmatch(r"\s*(\+?)\s*(\d+)\s*", wanted)
    if hit is None:
        raise ConfigError(
            f"trials must be a number, or + and a number for so many more, got {wanted!r}. "
            "Try --trials +20."
        )
    return before * bool(hit[1]) + int(hit[2])
