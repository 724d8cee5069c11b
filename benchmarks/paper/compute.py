"""Runs the work of an experiment, seed by seed, in one process or several; keeps what is done.

What has been computed lies in the package's cache under an address of everything it depends on, so
that an interrupted experiment goes on, and experiments that share arms (Table 1 and the sweeps of
Fig. 1, 3 and 4) compute them once. ``--fresh`` computes again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmarks.paper.arms import Arm, ArmResult, run_arm
from benchmarks.paper.settings import Settings, bench_of
from energytune.models import TaskModel
from energytune.paths import CACHE_ADVICE, atomic_file
from energytune.training.features import content_key
from energytune.trial.bench import Bench

__all__ = ["final_state", "kept", "run_arms", "run_seeds"]

_REVISION = 1
"""Raise it when the engine measures something else: what is kept then counts no more."""

_LARGEST_STATE = 16 << 20
"""Bytes up to which the weights after the last epoch are kept as well, for exchanging them."""

SeedWork = Callable[[Settings, int], list[dict[str, Any]]]
"""Returns the rows of one seed; a function of a module, for it travels to other processes."""


def run_arms(settings: Settings, arms: Sequence[Arm]) -> list[ArmResult]:
    """Returns the results of all arms and seeds, by seed, then in the order of the arms."""
    jobs = [(settings, tuple(arms), seed) for seed in range(settings.n_seeds)]
    results = [result for found in _each(_arms_of_seed, jobs, settings.jobs) for result in found]
    order = {arm: i for i, arm in enumerate(arms)}
    return sorted(results, key=lambda result: (result.seed, order[result.arm]))


def run_seeds(
    settings: Settings, work: SeedWork, *, n_seeds: int | None = None
) -> list[dict[str, Any]]:
    """Returns the rows of ``work`` for all seeds, or for the first ``n_seeds``, by seed."""
    seeds = range(settings.n_seeds if n_seeds is None else n_seeds)
    jobs = [(work, settings, seed) for seed in seeds]
    rows = [row for found in _each(_rows_of_seed, jobs, settings.jobs) for row in found]
    return sorted(rows, key=lambda row: int(row["seed"]))


def kept(
    settings: Settings, bench: Bench, kind: str, parts: dict[str, Any], make: Callable[[], Any]
) -> Any:
    """Returns what an earlier run has kept, or makes it and keeps it.

    Args:
        settings: Where the cache is, and whether it counts.
        bench: The data, weights and stages that it depends on.
        kind: Which function makes it.
        parts: What else it depends on, as JSON values.
        make: Returns a JSON value.
    """
    path = _path(settings, bench, kind, parts)
    if path.exists() and not settings.fresh:
        return json.loads(path.read_text())
    value = make()
    with atomic_file(path, CACHE_ADVICE) as file:
        file.write(json.dumps(value).encode())
    return value


def final_state(settings: Settings, bench: Bench, arm: Arm, seed: int) -> dict[str, Tensor] | None:
    """Returns the weights of an arm after its last epoch; None if no run has kept them."""
    path = _path(settings, bench, "arm", _arm_parts(arm, seed)).with_suffix(".safetensors")
    return load_file(path) if path.exists() and not settings.fresh else None


def _path(settings: Settings, bench: Bench, kind: str, parts: dict[str, Any]) -> Path:
    key = content_key(
        kind=f"paper {kind}",
        revision=_REVISION,
        data=bench.splits.fingerprint,
        backbone=bench.backbone.name,
        weights=bench.backbone.weights_sha256,
        probe=bench.spec.probe.model_dump(),
        finetune=bench.spec.finetune.model_dump(),
        device=bench.device.type,
        n_threads=bench.spec.n_threads,
        torch=torch.__version__,
        **parts,
    )
    return settings.cache / "paper" / f"{key}.json"


def _arm_parts(arm: Arm, seed: int) -> dict[str, Any]:
    return {"arm": asdict(arm), "seed": seed, "samples": False}


def _arms_of_seed(settings: Settings, arms: Sequence[Arm], seed: int) -> list[ArmResult]:
    bench = bench_of(settings, seed)
    results = []
    for arm in sorted(arms, key=lambda arm: arm.tau):  # each probe goes on from the last one
        parts = _arm_parts(arm, seed)
        path = _path(settings, bench, "arm", parts).with_suffix(".safetensors")

        def run(arm: Arm = arm, path: Path = path) -> dict[str, Any]:
            def keep(epoch: int, model: TaskModel) -> None:
                if epoch == bench.spec.finetune.epochs:
                    _keep_state(path, model)

            return asdict(run_arm(bench, arm, seed, watch=keep))

        results.append(_result(kept(settings, bench, "arm", parts, run)))
    return results


def _keep_state(path: Path, model: TaskModel) -> None:
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    if sum(value.nbytes for value in state.values()) <= _LARGEST_STATE:
        with atomic_file(path, CACHE_ADVICE) as file:
            file.write(save(state))


def _rows_of_seed(work: SeedWork, settings: Settings, seed: int) -> list[dict[str, Any]]:
    return work(settings, seed)


def _result(found: dict[str, Any]) -> ArmResult:
    values = {**found, "arm": Arm(**found["arm"])}
    values["p0_samples"] = tuple(values["p0_samples"])
    values["curve"] = tuple(tuple(epoch) for epoch in values["curve"])
    return ArmResult(**values)


def _each(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n: int) -> Iterator[Any]:
    """Yields the outcomes as they come, and tells how far it is."""
    started = perf_counter()
    outcomes: Iterator[Any]
    if n == 1:
        outcomes = (function(*job) for job in jobs)
        yield from _told(outcomes, len(jobs), started)
        return
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        yield from _told((f.result() for f in as_completed(futures)), len(jobs), started)


def _told(outcomes: Iterator[Any], n_jobs: int, started: float) -> Iterator[Any]:
    for n_done, outcome in enumerate(outcomes, start=1):
        print(f"  seed {n_done}/{n_jobs} done, {perf_counter() - started:.0f} s", flush=True)
        yield outcome
