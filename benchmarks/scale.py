"""What a search's driver makes of 1 to 1,000 workers, on one machine.

The workers are simulated: they compute on a virtual clock, a trial of 60 seconds in no time. The
driver before them is the package's own: study in its journal file, sampler, pruner, rungs,
records, MLflow's journal. All it does is done, and the CPU time that it takes moves the virtual
clock on. Beside it stand what Ray Tune takes of the same process for a report and for a job
(measured with it on this machine, by jobs that compute nothing), and the waits for the disk.

A search has so and so many trials a worker. Its efficiency is the share of the workers' time in
which they compute, as long as there is a job for each of them. In the end the last trials run and
there are fewer jobs than workers, however quick the driver is: that loss is told apart.

    python benchmarks/scale.py                           # 5 to 20 minutes
    python benchmarks/scale.py --workers 1 16 --trials-per-worker 5 --ray-ms 0.8 5 --out scale.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import RESULTS, hardware, metadata, write_csv, write_json
from scaling.cluster import Costs, Outcome, simulate
from scaling.driver import Syncs, make_driver
from scaling.workers import Trials
from search_scale import SPACE, anonymous_mb

from energytune.cluster.run import report_interval_s
from energytune.cluster.worker import WorkerSettings

WORKERS = (1, 4, 16, 64, 256, 1000)
TARGET = (256, 0.90)
LATENCY_S = 0.005
"""From a worker's call to the driver's and back, each: a network and two event loops."""


def main() -> None:
    """Simulates a search for each number of workers; writes and prints what came of it."""
    options = parse()
    if options.child is not None:
        print(json.dumps(child(options)))
        return
    ray = {} if options.ray_ms else measured_ray(options.ray_workers)
    ray_ms = options.ray_ms or [1e3 * ray["cpu_s"]["report"], 1e3 * ray["cpu_s"]["job"]]
    sync_ms = options.sync_ms or 1e3 * measured_sync_s()
    given = ["--ray-ms", *ray_ms, "--sync-ms", sync_ms]
    rows = []
    for n_workers in options.workers:
        rows.append(in_a_process(options, n_workers, given))
        print_row(rows[-1], rows[0])
    settings = {
        name: value for name, value in vars(options).items() if name not in ("child", "out")
    }
    costs = {"ray_report_ms": ray_ms[0], "ray_job_ms": ray_ms[1], "sync_ms": sync_ms}
    costs["latency_ms"] = 1e3 * LATENCY_S
    write_csv(options.out.with_suffix(".csv"), [flat(row) for row in rows])
    write_json(
        options.out, {**metadata(settings=settings), "costs": costs, "ray": ray, "rows": rows}
    )
    print_verdict(rows)
    print(f"\n{options.out}\n{options.out.with_suffix('.csv')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--trials-per-worker", type=int, default=10)
    parser.add_argument("--trial-seconds", type=float, default=60.0, help="of a whole finetune")
    parser.add_argument("--report-seconds", type=float, help="default: as a search does")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray-ms", type=float, nargs=2, help="a report, a job; default: measured")
    parser.add_argument("--ray-workers", type=int, default=8, help="with which that is measured")
    parser.add_argument("--sync-ms", type=float, help="a wait for the disk; default: measured")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"scale-{hardware()}.json"
    return options


def measured_ray(n_workers: int) -> dict[str, Any]:
    """Returns what Ray costs; see ``scaling/ray_cost.py``."""
    script = Path(__file__).parent / "scaling" / "ray_cost.py"
    return last_line([sys.executable, script, n_workers])


def measured_sync_s() -> float:
    """Returns the median seconds that a written line takes to the disk here."""
    times = []
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        for _ in range(200):
            file.write(b"x" * 200)
            file.flush()
            began = perf_counter()
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    return median(times)


def in_a_process(options: argparse.Namespace, n_workers: int, given: list[Any]) -> dict[str, Any]:
    """Simulates in a fresh process, whose memory is then the driver's."""
    command = [sys.executable, __file__, "--child", n_workers, *given, "--seed", options.seed]
    command += ["--trials-per-worker", options.trials_per_worker]
    command += ["--trial-seconds", options.trial_seconds]
    if options.report_seconds is not None:
        command += ["--report-seconds", options.report_seconds]
    return last_line(command)


def last_line(command: list[Any]) -> dict[str, Any]:
    """Runs a command and returns the JSON of its last line."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{command[1:]} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Simulates one search and returns its row."""
    n_workers, clock = options.child, [0.0]
    n_trials = n_workers * options.trials_per_worker
    report_ms, job_ms = options.ray_ms
    costs = Costs(report_ms / 1e3, job_ms / 1e3, LATENCY_S, options.sync_ms / 1e3)
    report_s = options.report_seconds
    if report_s is None:
        report_s = report_interval_s(n_workers)
    trials = Trials(SPACE.finetune.epochs, SPACE.tau.high, options.trial_seconds, options.seed)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch, Syncs() as syncs:
        ledger, source, parts = make_driver(
            Path(scratch), n_workers, n_trials, lambda: clock[0], options.seed
        )
        before_mb, began = anonymous_mb(), perf_counter()
        outcome = simulate(
            ledger,
            trials,
            WorkerSettings(source.reported_epochs, report_s, 1),
            n_workers=n_workers,
            costs=costs,
            syncs=syncs,
            clock=clock,
        )
        files_mb = sum(file.stat().st_size for file in Path(scratch).iterdir()) / 1e6
    row = row_of(outcome, n_workers)
    row |= {
        "n_trials": len(source.records),
        "report_s": report_s,
        "memory_mb": (anonymous_mb() or 0.0) - (before_mb or 0.0),
        "files_mb": files_mb,
        "wall_s": perf_counter() - began,
    }
    # Of the whole search: the end has the same calls, and few of them.
    own = outcome.busy_s - outcome.ray_s - outcome.disk_s
    scale = own / sum(parts.seconds.values())
    row["busy"] = {part: scale * s / outcome.busy_s for part, s in parts.seconds.most_common()}
    row["busy"] |= {"Ray": outcome.ray_s / outcome.busy_s, "disk": outcome.disk_s / outcome.busy_s}
    row["bottleneck"] = max(row["busy"], key=row["busy"].__getitem__)
    return row


def row_of(out: Outcome, n_workers: int) -> dict[str, Any]:
    """Returns the shares and times of a simulated search."""
    full_s = out.full_s * n_workers
    lost = {
        "waiting for a job": out.job_wait_s / full_s,
        "waiting for an answer": out.answer_wait_s / full_s,
    }
    efficiency = out.full_work_s / full_s
    return {
        "n_workers": n_workers,
        "efficiency": efficiency,
        "lost": {**lost, "on the way": max(0.0, 1 - efficiency - sum(lost.values()))},
        "efficiency_with_end": out.work_s / (n_workers * out.seconds),
        "seconds": out.seconds,
        "full_s": out.full_s,
        "utilisation": out.busy_s / out.full_s,
        "busy_ms_a_trial": 1e3 * out.busy_s / max(1, len(out.suggest_s)),
        "jobs_per_s": out.n_jobs / out.full_s,
        "messages_per_s": out.n_reports / out.full_s,
        "suggest_ms_p50": 1e3 * percentile(out.suggest_s, 50),
        "suggest_ms_p99": 1e3 * percentile(out.suggest_s, 99),
        "answer_ms_p50": 1e3 * percentile(out.answers_s, 50),
        "answer_ms_p99": 1e3 * percentile(out.answers_s, 99),
    }


def percentile(values: list[float], percent: int) -> float:
    """Returns a percentile of at least one value."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row without dicts in it."""
    told = {name: value for name, value in row.items() if not isinstance(value, dict)}
    told |= {f"lost: {name}": value for name, value in row["lost"].items()}
    return told | {f"busy: {name}": value for name, value in row["busy"].items()}


def print_row(row: dict[str, Any], first: dict[str, Any]) -> None:
    """Prints a line of the table."""
    if row is first:
        print("workers  trials  efficiency  weak  with end  driver busy  suggest (ms)  answer (ms)")
        print(
            "                                             (s/s)        p50     p99   p50      p99"
        )
    print(
        f"{row['n_workers']:7d} {row['n_trials']:7d} {row['efficiency']:11.1%} "
        f"{row['efficiency'] / first['efficiency']:5.2f} {row['efficiency_with_end']:9.1%} "
        f"{row['utilisation']:12.3f} {row['suggest_ms_p50']:7.1f} {row['suggest_ms_p99']:7.0f} "
        f"{row['answer_ms_p50']:6.1f} {row['answer_ms_p99']:8.0f}  {row['bottleneck']}",
        flush=True,
    )


def print_verdict(rows: list[dict[str, Any]]) -> None:
    """Prints where the time of the largest search goes, and whether the target was met."""
    last = rows[-1]
    print(f"\n{last['n_workers']:,} workers: {last['messages_per_s']:.0f} messages/s, ", end="")
    print(f"{last['jobs_per_s']:.0f} jobs/s, {last['memory_mb']:.0f} MB, {last['files_mb']:.0f} MB")
    print("on disk; the driver's time:")
    for part, share in sorted(last["busy"].items(), key=lambda item: -item[1]):
        print(f"  {part:<18} {share:6.1%}")
    n_workers, least = TARGET
    for row in rows:
        if row["n_workers"] == n_workers:
            is_met = "met" if row["efficiency"] >= least else "MISSED"
            print(f"\ntarget {least:.0%} at {n_workers}: {row['efficiency']:.1%}, {is_met}")


if __name__ == "__main__":
    main()
