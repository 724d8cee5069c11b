"""What a search's own decisions cost once a study holds very many trials.

A study is filled with finished trials as a search leaves them: recipes, probing snapshots,
finetuning curves, reports at the rungs; three quarters stop at each rung. Then further trials are
begun, one by one, and timed:

suggest   one suggestion of the energy sampler, ``Study.ask`` included
probed    one decision of the energy pruner when head probing has ended
rung      one decision of the energy pruner at the first rung

Each storage is measured in a process of its own, whose peak memory is that of a search's driver,
all records included.

    python benchmarks/search_scale.py                    # 3 minutes
    python benchmarks/search_scale.py --trials 500 --repeats 6 --out scale.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import RESULTS, hardware, idle_load, metadata, write_csv, write_json
from optuna.storages import InMemoryStorage
from optuna.study import Study, create_study
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from energytune.config import Recipe, grid_of_space, load_space, snapshot_epochs
from energytune.optimizer import StudySource, make_pruner, make_sampler, open_study, suggest
from energytune.optimizer.attrs import write_end, write_probe, write_start
from energytune.optimizer.convergence import EXPECTED_IMPROVEMENT
from energytune.optimizer.energy_lookup import MapLookup
from energytune.optimizer.pruner import EnergyPruner
from energytune.optimizer.suggest import distributions
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, ProbeDone, TrialRecord

STORAGES = ("memory", "journal")
TARGETS_MS = {"suggest": 500.0, "probed": 20.0, "rung": 20.0}
TARGET_MB = 1000.0
SPACE = load_space("default")
N_EPOCHS = SPACE.finetune.epochs
PRUNER = EnergyPruner(N_EPOCHS)
RUNGS = sorted(PRUNER.rung_epochs(N_EPOCHS))


def main() -> None:
    """Measures both storages, writes the rows and the summary, and prints the summary."""
    options = parse()
    if options.child:
        print(json.dumps(child(options)))
        return
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    rows, drivers = [], []
    for storage in options.storages:
        with tempfile.TemporaryDirectory(prefix="search_scale-") as scratch:
            if storage == "journal":
                in_a_process(options, "fill", scratch)
            told = in_a_process(options, storage, scratch)
        rows += told["rows"]
        drivers.append(told["driver"])
    summary = summarise(rows, drivers)
    settings = {"trials": options.trials, "repeats": options.repeats}
    head = metadata(settings=settings, cpus_busy_before=round(load_before, 2))
    write_csv(options.out.with_suffix(".csv"), rows)
    write_json(options.out, {**head, "summary": summary, "drivers": drivers})
    print_summary(summary)
    print(f"\n{options.out}\n{options.out.with_suffix('.csv')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=10_000, help="finished trials")
    parser.add_argument("--repeats", type=int, default=30, help="further trials, timed")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"search_scale-{hardware()}.json"
    return options


def in_a_process(options: argparse.Namespace, what: str, folder: str) -> dict[str, Any]:
    """Runs one part in a fresh process and returns what it tells."""
    command = [sys.executable, __file__, "--trials", options.trials, "--repeats", options.repeats]
    command += ["--child", what, folder]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{what} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Fills a study, or measures one."""
    what, folder = options.child
    imported_mb = peak_mb()
    start = perf_counter()
    study = opened(what, Path(folder))
    if what != "journal":
        fill(study, options.trials)
    if what == "fill":
        return {}
    opened_s = perf_counter() - start
    rows = [row for _ in range(options.repeats) for row in one_more(study)]
    rows[:3] = [row | {"is_first": True} for row in rows[:3]]
    start = perf_counter()
    source = StudySource(study, SPACE, n_trials=10 * options.trials, seed=0)
    driver = {
        "storage": what,
        "n_trials": len(source.records),
        "imported_mb": imported_mb,
        "peak_mb": peak_mb(),
        "anonymous_mb": anonymous_mb(),
        "open_s": opened_s,
        "records_s": perf_counter() - start,
    }
    return {"rows": [{"storage": what, **row} for row in rows], "driver": driver}


def peak_mb() -> float:
    """Returns the most memory that this process has had, in 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def anonymous_mb() -> float | None:
    """Returns this process's memory without mapped files, such as torch's libraries."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, flags=re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None


def opened(what: str, folder: Path) -> Study:
    """Returns the study, with sampler and pruner as in a search."""
    sampler = make_sampler(
        "energy", 0, energy=MapLookup(energy_map(), SPACE), space=distributions(SPACE)
    )
    pruner = make_pruner("energy", N_EPOCHS)
    if what == "memory":
        return create_study(
            storage=InMemoryStorage(), direction="maximize", sampler=sampler, pruner=pruner
        )
    return open_study(f"journal://{folder / 'journal'}", "scale", sampler=sampler, pruner=pruner)


# what a search has left behind


def energy_map() -> Iterator[tuple[Any, list[ProbeSnapshot]]]:
    """Yields the heads of the space with made-up snapshots."""
    depths = range(SPACE.reinit_depth.low, SPACE.reinit_depth.high + 1)
    for head in grid_of_space(SPACE, reinit_depths=tuple(depths)).heads():
        recipe = Recipe(
            tau=SPACE.tau.high,
            head_arch=head.head_arch,
            label_smoothing=head.label_smoothing,
            reinit_depth=head.reinit_depth,
            ft_lr=1.0,
        )
        yield head, snapshots(recipe, random.Random(0))


def snapshots(recipe: Recipe, rng: random.Random) -> list[ProbeSnapshot]:
    """Returns a probe that converges within some 300 epochs to the smoothing's reserve."""
    seen = []
    for epoch in snapshot_epochs(recipe.tau):
        left = math.exp(-epoch / (60 if recipe.head_arch == "linear" else 40))
        seen.append(
            ProbeSnapshot(
                epoch=epoch,
                train_acc=1 - 0.9 * left,
                train_loss=0.1 + 2 * left,
                valid_acc=0.8 - 0.7 * left,
                valid_loss=0.5 + 2 * left + 0.1 * rng.random(),
                aie=0.9 * (recipe.label_smoothing + left),
                head_norm=2 + math.log1p(epoch) + rng.random(),
                pull_norm=0.5 + 0.1 * recipe.reinit_depth,
            )
        )
    return seen


def final_accuracy(recipe: Recipe, rng: random.Random) -> float:
    """Returns an accuracy that has an optimum within the space, and noise."""
    far = (math.log1p(recipe.tau) - 5) ** 2 + 4 * (math.log10(recipe.ft_lr) + 2) ** 2
    return 0.9 - 0.01 * far - 0.02 * recipe.reinit_depth + 0.01 * rng.random()


def curve(final: float, n_epochs: int) -> tuple[FinetuneEpoch, ...]:
    """Returns finetuning epochs on the way to an accuracy."""
    values = [final * (1 - math.exp(-8 * e / N_EPOCHS)) for e in range(1, n_epochs + 1)]
    return tuple(FinetuneEpoch(e, 0.3, 0.9, 0.4, value) for e, value in enumerate(values, 1))


def fill(study: Study, n_trials: int) -> None:
    """Adds finished trials, written as a search writes them."""
    rng = random.Random(0)
    space = distributions(SPACE)
    sampled = create_study(sampler=make_sampler("random", 0))
    for number in range(n_trials):
        params = sampled.ask(space).params
        study.add_trial(finished_trial(number, params, rng))


def finished_trial(number: int, params: dict[str, Any], rng: random.Random) -> FrozenTrial:
    """Returns a trial that stopped at one of the rungs, or is complete."""
    trial = FixedTrial(params)
    job = Job(f"t{number:03d}", number, suggest(trial, SPACE), seed=0, role="search")
    last = next((epoch for epoch in RUNGS if rng.random() < 3 / 4), N_EPOCHS)
    epochs = curve(final_accuracy(job.recipe, rng), last)
    is_complete = last == N_EPOCHS
    value = epochs[-1].valid_acc
    record = TrialRecord(
        job=job,
        state="COMPLETE" if is_complete else "PRUNED",
        reason="" if is_complete else "not among the best quarter at its rung",
        epochs=epochs,
        finished=Finished(value, last, 0.4, {"feature_distance": 1.5}) if is_complete else None,
    )
    write_start(trial, job)  # type: ignore[arg-type]  # it has attributes as a Trial has
    write_probe(trial, ProbeDone(tuple(snapshots(job.recipe, rng)), 0.5, job.recipe.tau))  # type: ignore[arg-type]
    write_end(trial, record)  # type: ignore[arg-type]
    return create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        value=value if is_complete else None,
        params=params,
        distributions=distributions(SPACE),
        user_attrs=trial.user_attrs,
        intermediate_values={e: epochs[e - 1].valid_acc for e in (*RUNGS, N_EPOCHS) if e <= last},
    )


# the measurement


def one_more(study: Study) -> Iterator[dict[str, Any]]:
    """Begins one more trial, asks whether to go on, completes it; yields the times of each."""
    rng = random.Random(len(study.get_trials(deepcopy=False)))
    watch = Watch()
    trial = study.ask()
    recipe = suggest(trial, SPACE)
    times = watch.read()
    stored = study.get_trials(deepcopy=False)[trial.number].system_attrs
    by_model = EXPECTED_IMPROVEMENT in stored
    yield {"what": "suggest", "by": "model" if by_model else "TPE", **times}
    job = Job(f"t{trial.number:03d}", trial.number, recipe, seed=0, role="search")
    write_start(trial, job)
    write_probe(trial, ProbeDone(tuple(snapshots(recipe, rng)), 0.5, recipe.tau))
    watch = Watch()
    trial.should_prune()
    yield {"what": "probed", "by": "", **watch.read()}
    final = final_accuracy(recipe, rng)
    trial.report(curve(final, RUNGS[0])[-1].valid_acc, RUNGS[0])
    watch = Watch()
    trial.should_prune()
    yield {"what": "rung", "by": "", **watch.read()}
    study.tell(trial, final)


class Watch:
    """Milliseconds since it was made, on the wall and of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def read(self) -> dict[str, float]:
        """Returns both."""
        wall, cpu = perf_counter() - self._wall, process_time() - self._cpu
        return {"wall_ms": round(1e3 * wall, 2), "cpu_ms": round(1e3 * cpu, 2)}


def summarise(rows: list[dict[str, Any]], drivers: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns medians and maxima by storage and decision, the first of a process apart."""
    summary: dict[str, Any] = {}
    for driver in drivers:
        told: dict[str, Any] = {"peak_mb": round(driver["peak_mb"])}
        own = [row for row in rows if row["storage"] == driver["storage"]]
        for what in TARGETS_MS:
            of_what = [row for row in own if row["what"] == what]
            later = [row for row in of_what if not row.get("is_first")] or of_what
            told[what] = {
                "first_wall_ms": of_what[0]["wall_ms"],
                **{
                    f"{name}_{unit}_ms": round(of([row[f"{unit}_ms"] for row in later]), 2)
                    for name, of in (("median", median), ("max", max))
                    for unit in ("wall", "cpu")
                },
            }
        summary[driver["storage"]] = told
    return summary


def print_summary(summary: dict[str, Any]) -> None:
    """Prints the times beside their targets."""
    for storage, told in summary.items():
        print(f"\n{storage}: peak memory {told['peak_mb']} MB (target: < {TARGET_MB:.0f})")
        print("             first   median      max   median      max   target")
        print("              wall     wall     wall      CPU      CPU            (ms)")
        for what, target in TARGETS_MS.items():
            own = told[what]
            shown = ("first_wall", "median_wall", "max_wall", "median_cpu", "max_cpu")
            numbers = " ".join(f"{own[f'{name}_ms']:8.1f}" for name in shown)
            print(f"  {what:<8} {numbers} {target:8.0f}")


if __name__ == "__main__":
    main()
