"""What a search's records do not say: its settings, its data and backbone, versions, its end.

It lies as ``about.json`` in the search's folder, and without the energy map in the study, so that
a search can be told and read again later, on another machine, or while it still runs. There is no
password in it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.config import MapHead, Recipe, SearchConfig
from energytune.errors import OutputError
from energytune.json_text import read_json
from energytune.optimizer import Standing
from energytune.paths import atomic_file
from energytune.redact import has_secret
from energytune.report.cost_plan import against_truth, as_json, train_seconds
from energytune.report.costs import costs
from energytune.science.noise import SeedNoise
from energytune.search.code_version import code_tags
from energytune.search.folder import RunFolder
from energytune.search.result import TuneResult
from energytune.training import ProbeSnapshot
from energytune.trial import TrialRecord
from energytune.trial.map_curve import MapCurve

if TYPE_CHECKING:
    from energytune.trial.bench import Bench

__all__ = [
    "about_search",
    "config_of",
    "curves_of",
    "end_of",
    "read_about",
    "result_of",
    "without_map",
    "write_about",
]

_FORMAT = 1
_PACKAGES = ("torch", "torchvision", "timm", "optuna", "ray", "mlflow", "numpy")
_MAY_HOLD_PASSWORDS = ("storage", "tracking_uri", "ray_address", "storage_path")
_COUNTS = ("n_classes", "n_train", "n_valid", "max_reinit_depth")
_ADVICE = "Free some space; the search itself is kept."


def about_search(
    config: SearchConfig,
    folder: RunFolder,
    bench: Bench,
    curves: Sequence[MapCurve],
    *,
    user_module: bool,
) -> dict[str, Any]:
    """Returns what is known before the first trial, as JSON values.

    Args:
        config: The search, its space as the backbone allows it.
        folder: The search's folder, claimed.
        bench: Data and backbone.
        curves: The energy map; empty for a sampler that has none.
        user_module: Whether the backbone is a user's own module.
    """
    task = bench.splits.task
    return {
        "format": _FORMAT,
        "search_id": folder.search_id,
        "folder": str(folder.path),
        "config": _settings(config),
        "backbone": bench.backbone.name,
        "metric": task.metric,
        "n_classes": task.n_outputs,
        "n_train": len(bench.splits.train),
        "n_valid": len(bench.splits.valid),
        "max_reinit_depth": bench.backbone.max_reinit_depth,
        "user_data": bench.spec.user_data is not None,
        "user_module": user_module,
        "facts": _facts(folder, bench),
        "map": [
            {
                "head": asdict(curve.head),
                "converged_epoch": curve.converged_epoch,
                "failure": curve.failure,
                "snapshots": [_slim(snapshot) for snapshot in curve.snapshots],
            }
            for curve in curves
        ],
    }


def end_of(result: TuneResult) -> dict[str, Any]:
    """Returns how a search has ended, as JSON values; see :func:`result_of`."""
    registered = result.registered
    text = ""
    if registered is not None:
        mark = " (champion)" if registered.is_champion else ""
        text = f"{registered.name} version {registered.version}{mark}: {registered.decision}"
    return {
        "winner": None if result.winner is None else result.winner.job.number,
        "baselines": {name: record.job.number for name, record in result.baselines.items()},
        "confirmed": [
            {**asdict(standing), "recipe": standing.recipe.to_dict()}
            for standing in result.confirmed
        ],
        "seed_noise": None if result.seed_noise is None else asdict(result.seed_noise),
        "interrupted": result.interrupted,
        "n_duplicates": result.n_duplicates,
        "end_reason": result.end_reason,
        "seconds": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
        "model_spec": dict(result.model_spec),
        "registered": text,
        "link": result.tracking.link or "",
        "plan": None if result.plan is None else dict(as_json(result.plan)),
        "written_bytes": result.written_bytes,
        "planned": _planned(result),
    }


def _planned(result: TuneResult) -> str:
    """Returns what was planned beside what was spent, in words; "" without a plan."""
    plan = result.plan
    if plan is None:
        return ""
    spent = costs(result.records, result.confirmations)
    train_s = train_seconds(result.records, result.confirmations, plan.concurrency)
    return against_truth(plan, spent, train_s, result.written_bytes)


def result_of(
    about: Mapping[str, Any],
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord],
    out: Path,
) -> TuneResult | None:
    """Returns the result of a search that has ended; None if it has not, or was killed.

    Args:
        about: As it was read.
        records: Trials of the search, by number.
        confirmations: Runs on further seeds.
        out: Where the search's folder lies now.

    Raises:
        KeyError, TypeError, ValueError: If it is no such description.
    """
    end = about.get("end")
    if end is None:
        return None
    by_number = {record.job.number: record for record in records}
    folder = RunFolder(config_of(about, out))
    standings = [
        Standing(**{**s, "recipe": Recipe(**s["recipe"]), "roles": tuple(s["roles"])})
        for s in end["confirmed"]
    ]
    return TuneResult(
        config=config_of(about, out),
        out=out,
        records=list(records),
        confirmations=list(confirmations),
        winner=None if end["winner"] is None else by_number[end["winner"]],
        baselines={name: by_number[number] for name, number in end["baselines"].items()},
        confirmed=standings,
        seed_noise=SeedNoise(**end["seed_noise"]) if end["seed_noise"] else None,
        interrupted=end["interrupted"],
        n_duplicates=end["n_duplicates"],
        end_reason=end["end_reason"],
        seconds=end["seconds"],
        model_spec=end["model_spec"],
        storage=folder.storage,
        study_name=folder.study_name,
        metric=about["metric"],
        about=about,
    )


def config_of(about: Mapping[str, Any], out: Path) -> SearchConfig:
    """Returns the settings of a search whose folder now lies at ``out``.

    Raises:
        ValueError: If they are no settings of a search.
    """
    return SearchConfig.model_validate({**about["config"], "out": out})


def curves_of(about: Mapping[str, Any]) -> list[MapCurve]:
    """Returns the energy map that the sampler has read; empty where it had none."""
    return [
        MapCurve(
            MapHead(**plain["head"]),
            tuple(ProbeSnapshot(**snapshot) for snapshot in plain["snapshots"]),
            plain["converged_epoch"],
            plain["failure"],
        )
        for plain in about.get("map", ())
    ]


def without_map(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the study keeps: all but the map, which is large."""
    return {name: value for name, value in about.items() if name != "map"}


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    """Writes the description, whole or not at all.

    Raises:
        OutputError: The disk is full or the folder can't be written.
    """
    with atomic_file(path, _ADVICE) as file:
        file.write(json.dumps(about, indent=1).encode())


def read_about(path: Path) -> dict[str, Any] | None:
    """Returns the description; None if there is none, as in folders of earlier versions.

    Raises:
        OutputError: The file can't be read or is damaged.
    """
    try:
        found = read_json(path)
        if not isinstance(found, dict) or found["format"] != _FORMAT:
            raise ValueError("it is of another version of energytune")
        for name in _COUNTS:
            if not isinstance(found[name], int):
                raise ValueError(f"{name} is no whole number")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else error
        raise OutputError(
            f"{path} can't be read: {why}. Restore it from a copy, or delete it: the records "
            "beside it are told without it."
        ) from error
    return found


def _settings(config: SearchConfig) -> dict[str, Any]:
    """Returns the settings without what may hold a password."""
    plain = config.model_dump(mode="json", exclude={"out"})
    for name in _MAY_HOLD_PASSWORDS:
        if plain[name] is not None and has_secret(plain[name]):
            plain[name] = None
    return plain


def _slim(snapshot: ProbeSnapshot) -> dict[str, Any]:
    return {name: value for name, value in asdict(snapshot).items() if value is not None}


def _facts(folder: RunFolder, bench: Bench) -> list[tuple[str, str]]:
    """Returns versions and hashes by name; what is not known is left out."""
    code = code_tags()
    splits = bench.splits
    found = [("energytune", code["energytune.version"]), ("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    found += [
        ("system", f"{platform.system()} {platform.machine()}"),
        ("device", _device(bench)),
        ("engine", bench.spec.engine.label()),
        ("git commit of the current folder", code.get("energytune.git_commit", "")),
        ("git commit of energytune", code.get("energytune.package_git_commit", "")),
        ("backbone", bench.backbone.name),
        ("backbone weights, sha256", bench.backbone.weights_sha256),
        ("data fingerprint, sha256", splits.fingerprint),
        ("protocol", splits.protocol),
        ("samples", f"{len(splits.train):,} train, {len(splits.valid):,} valid"),
        ("search id", folder.search_id),
        ("begun", datetime.now().astimezone().isoformat(timespec="seconds")),
    ]
    return [(name, value) for name, value in found if value]


def _device(bench: Bench) -> str:
    if bench.device.type != "cuda":
        return bench.device.type
    import torch

    return torch.cuda.get_device_name()
