"""Gathers what the page of a search shows, from its result and what it ran on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from energytune.config import MapHead, SearchConfig
from energytune.optimizer.importance import recipe_importances
from energytune.report.inputs import ReportInput
from energytune.science.guide import Finding, GuideContext, diagnose
from energytune.search.about import curves_of
from energytune.search.command import reproduction
from energytune.search.energy_map import head_curve
from energytune.search.result import TuneResult
from energytune.trial import TrialRecord
from energytune.trial.map_curve import MapCurve, curve_rows

__all__ = ["State", "report_input"]

State = Literal["ended", "interrupted", "running"]


def report_input(
    result: TuneResult,
    *,
    state: State | None = None,
    n_waiting: int = 0,
    registered: str = "",
    link: str = "",
    notes: Sequence[str] = (),
) -> ReportInput:
    """Returns what the page of a search shows.

    Args:
        result: The search, as far as it has come.
        state: None reads it from the result.
        n_waiting: Trials that are running or paused.
        registered: The registered model, in words.
        link: Page of the search in MLflow.
        notes: What is out of the ordinary.
    """
    about, config = result.about, result.config
    probed = curves_of(about)
    curves = _with_trials(probed, result.records, config)
    user_data, user_module = bool(about.get("user_data")), bool(about.get("user_module"))
    winner = None if result.winner is None else result.winner.job.recipe
    n_classes = about.get("n_classes") if result.metric != "roc_auc" else None
    if not about:
        notes = [*notes, "Versions, hashes and metric of this search were not recorded."]
    return ReportInput(
        dataset=config.dataset,
        backbone=about.get("backbone") or config.backbone or "",
        space=config.space,
        importances=recipe_importances(result.records, config.space, seed=config.seed),
        seed=config.seed,
        n_trials=config.n_trials,
        n_confirm_seeds=config.n_confirm_seeds,
        metric=result.metric,
        records=result.records,
        confirmations=result.confirmations,
        winner=result.winner,
        baselines=result.baselines,
        confirmed=result.confirmed,
        seed_noise=result.seed_noise,
        state=state or ("interrupted" if result.interrupted else "ended"),
        end_reason=result.end_reason,
        seconds=result.seconds,
        n_duplicates=result.n_duplicates,
        n_waiting=n_waiting,
        map_rows=list(curve_rows(curves)),
        map_note=_map_note(probed, curves),
        n_classes=n_classes,
        findings=_findings(curves, result, is_named=not (user_data or user_module)),
        reproduction=reproduction(config, winner, user_data=user_data, user_module=user_module),
        facts=[(str(name), str(value)) for name, value in about.get("facts", ())] + _planned(about),
        registered=registered,
        link=link,
        notes=notes,
        made_at=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
    )


def _planned(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what the search was planned to cost, and has; nothing for one that went on."""
    name, _, told = ((about.get("end") or {}).get("planned") or "").partition(": ")
    return [(name, told)] if told else []


def _with_trials(
    probed: Sequence[MapCurve], records: Sequence[TrialRecord], config: SearchConfig
) -> list[MapCurve]:
    """Returns the map's heads and those that trials have probed, each as far as it went."""
    found: dict[tuple[object, ...], MapCurve] = {}
    for curve in probed:
        head = curve.head
        found[head.head_arch, head.label_smoothing, head.reinit_depth] = curve
    probe = config.space.probe
    for record in records:
        recipe, snapshots = record.job.recipe, record.snapshots
        key = (recipe.head_arch, recipe.label_smoothing, recipe.reinit_depth)
        if not snapshots or snapshots[0].epoch != 0 or record.job.seed != config.seed:
            continue
        if recipe.tau == 0 and key in found:
            continue
        known = found.get(key)
        if known is None or (
            known.snapshots
            and snapshots[-1].epoch > known.snapshots[-1].epoch
            and known.converged_epoch is None
        ):
            head = MapHead(
                recipe.reinit_depth,
                recipe.head_arch,
                recipe.label_smoothing,
                probe.lr,
                probe.weight_decay,
                config.seed,
            )
            found[key] = MapCurve(head, snapshots)
    return [curve for curve in found.values() if curve.snapshots]


def _map_note(probed: Sequence[MapCurve], curves: Sequence[MapCurve]) -> str:
    n_trials = len(curves) - len(probed)
    if not probed:
        return "All heads are those that trials have probed, each up to its largest tau."
    told = f"Probed before the first trial: {len(probed)} head{'' if len(probed) == 1 else 's'}."
    return f"{told} By trials: {n_trials} more, each up to its largest tau." if n_trials else told


def _findings(curves: Sequence[MapCurve], result: TuneResult, *, is_named: bool) -> list[Finding]:
    """Returns what the user guide says; without commands where none can name data and backbone."""
    about: Mapping[str, Any] = result.about
    usable = [curve for curve in curves if curve.snapshots[0].epoch == 0]
    if not usable or not about:
        return []
    config = result.config
    context = GuideContext(
        dataset=config.dataset,
        backbone=config.backbone or "",
        n_classes=about["n_classes"],
        tau_max=max(curve.snapshots[-1].epoch for curve in usable),
        n_train=about["n_train"],
        metric=result.metric,
        max_reinit_depth=about["max_reinit_depth"],
        options=_repeated(config),
    )
    found = diagnose([head_curve(curve) for curve in usable], context)
    return found if is_named else [replace(finding, command="") for finding in found]


def _repeated(config: SearchConfig) -> str:
    """Returns the options that a command needs to find the same data and weights."""
    words = []
    for name in ("checkpoint", "checkpoint_prefix", "image_size", "data_root"):
        value = getattr(config, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if config.weights != "default":
        words += ["--weights", config.weights]
    return shlex.join(words)
