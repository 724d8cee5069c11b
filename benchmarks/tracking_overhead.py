"""What logging adds to a search's wall time on the default store.

Pairs of the same search, with and without tracking, each in a process and a folder of its own.
Both of a pair do the same work (a sampler and a pruner that do not depend on which trial ends
first) and run side by side by turns of half a second (``turns.py``): only so is a difference of
one per cent seen on a machine whose speed drifts by tens. Seconds are those in which a search had
its turn.

Beside the ratio of wall times stand the seconds that the driver spent inside tracking and waited
for the last entries to be sent, and the CPU seconds of the driver's process with and without
tracking. The process that sends has CPU seconds of its own; while a search runs it takes them
at a low priority. Registering the winner is no logging, and told apart.

    python benchmarks/tracking_overhead.py --pairs 10            # a quiet machine, 20 minutes
    python benchmarks/tracking_overhead.py --pairs 1 --trials 4 --out overhead.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import RESULTS, hardware, idle_load, metadata, n_cpus, write_csv, write_json
from turns import Turn, active_s, take_turns

ROOT = Path(__file__).resolve().parent.parent
TARGET = 0.02


def main() -> None:
    """Runs the pairs, writes the rows and the summary, and prints the summary."""
    options = parse()
    if options.child:
        print("\n" + json.dumps(search(options)))
        return
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tracking-overhead-") as scratch:
        run_pair(["on"], 10_000, options, Path(scratch), trials=2)  # fills the cache
        for pair in range(options.pairs):
            arms = ["on", "off"] if pair % 2 else ["off", "on"]
            for row in run_pair(arms, pair, options, Path(scratch)):
                rows.append(row)
                print(f"pair {pair} {row['arm']:>3}: {row['wall_s']:6.1f} s, registry "
                      f"{row['registry_s']:.2f} s, last entries {row['drain_s']:.2f} s, "
                      f"sender {row['sender_cpu_s']:.2f} CPU s, driver {row['driver_s']:.3f} s of "
                      f"{row['process_cpu_s']:.2f} CPU s", flush=True)  # fmt: skip
    summary = summarise(rows)
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "child", "folder")}
    head = metadata(
        settings=settings,
        cpus_busy_before=round(load_before, 2),
        load_average=[round(x, 1) for x in os.getloadavg()],
    )
    write_json(options.out, {**head, "summary": summary, "runs": rows})
    write_csv(options.out.with_suffix(".csv"), rows)
    print(json.dumps(summary, indent=2))
    print(options.out)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--sampler", default="random", help="energy needs --concurrency 1 here")
    parser.add_argument("--pruner", default="none", help="energy needs --concurrency 1 here")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", choices=("on", "off"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"tracking_overhead-{hardware()}.json"
    return options


def run_pair(
    arms: list[str],
    pair: int,
    options: argparse.Namespace,
    scratch: Path,
    trials: int | None = None,
) -> list[dict[str, Any]]:
    """Runs one search for each arm, by turns."""
    environment = {
        **os.environ,
        "ENERGYTUNE_CACHE": str(scratch / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
    }
    processes = []
    for arm in arms:
        folder = scratch / f"{pair}-{arm}"
        folder.mkdir()
        command = [sys.executable, __file__, "--child", arm, "--seed", pair, "--folder", folder]
        command += ["--trials", trials or options.trials, "--concurrency", options.concurrency]
        command += ["--sampler", options.sampler, "--pruner", options.pruner]
        with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
            processes.append(
                subprocess.Popen(
                    [str(part) for part in command],
                    cwd=folder, env=environment, stdout=out, stderr=err,
                )
            )  # fmt: skip
    turns = take_turns(processes)
    return [
        _row(arm, pair, scratch / f"{pair}-{arm}", process, own)
        for arm, process, own in zip(arms, processes, turns, strict=True)
    ]


def _row(
    arm: str, pair: int, folder: Path, process: subprocess.Popen[bytes], turns: list[Turn]
) -> dict[str, Any]:
    """Returns what a search has told, its moments turned into seconds of its own turns."""
    if process.returncode:
        raise SystemExit(f"The search failed:\n{(folder / 'err.txt').read_text()[-3000:]}")
    told = json.loads((folder / "out.txt").read_text().splitlines()[-1])
    seconds = {
        f"{name}_s": sum(active_s(turns, begin, end) for begin, end in moments)
        for name, moments in told.pop("moments").items()
    }
    return {"pair": pair, "arm": arm, **seconds, **told, "n_turns": len(turns)}


# in the child


class Untracked:
    """A search without tracking: what :class:`energytune.search.tracked.TrackedSearch` offers."""

    def __init__(self, *_: object) -> None:
        from energytune.search.result import Tracking

        self.observer, self._status = _Nobody(), Tracking(uri="")

    def __enter__(self) -> Untracked:
        return self

    def __exit__(self, *_: object) -> None: ...

    def send_now(self) -> None: ...

    def finish(self, *_: object) -> None: ...

    def status(self) -> Any:
        return self._status


class _Nobody:
    def job_started(self, *_: object) -> None: ...

    def job_progress(self, *_: object) -> None: ...

    def job_ended(self, *_: object) -> None: ...


def search(options: argparse.Namespace) -> dict[str, Any]:
    """Runs one search in this process."""
    import energytune.search.run as run
    from energytune.config import SearchConfig, load_space
    from energytune.tracking import Sender, TrackingJournal, TrackingObserver

    moments: dict[str, list[Turn]] = {n: [] for n in ("wall", "driver", "registry", "drain")}
    senders: list[Any] = []
    if options.child == "off":
        run.TrackedSearch = Untracked  # type: ignore[assignment,misc]
    for name in ("__init__", "job_started", "job_progress", "job_ended", "finish"):
        _time(TrackingObserver, name, moments["driver"])
    for name in ("start", "send_now", "close"):
        _time(Sender, name, moments["driver"])
    _time_stages(moments)
    real = Sender.__init__

    def remember(self: Any, *args: Any, **more: Any) -> None:
        senders.append(self)
        real(self, *args, **more)

    Sender.__init__ = remember  # type: ignore[method-assign]
    config = SearchConfig(
        dataset="digits",
        space=load_space("default"),
        n_trials=options.trials,
        concurrency=options.concurrency,
        seed=options.seed,
        sampler=options.sampler,
        pruner=options.pruner,
        out=options.folder / "run",
    )
    started = time.perf_counter()
    result = run.run_search(config)
    moments["wall"].append((started, time.perf_counter()))
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    entries = TrackingJournal(options.folder / "run" / "tracking.jsonl").read().entries
    return {
        "moments": moments,
        "sender_cpu_s": sum(sender.cpu_s for sender in senders),
        # the driver's own; those that it waited for are apart, among them the one that sends
        "process_cpu_s": own.ru_utime + own.ru_stime,
        "children_cpu_s": children.ru_utime + children.ru_stime,
        "n_records": len(result.records) + len(result.confirmations),
        "n_points": sum(len(e.get("metrics", ())) for e in entries),
        "n_unsent": result.tracking.n_unsent,
        "load_1min": os.getloadavg()[0],
    }


def _time(owner: type, name: str, moments: list[Turn]) -> None:
    """Notes when a method began and ended, each time that the driver's thread calls it."""
    inner, driver = getattr(owner, name), threading.get_ident()

    def outer(*args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*args, **more)
        finally:
            if threading.get_ident() == driver:
                moments.append((started, time.perf_counter()))

    setattr(owner, name, outer)


def _time_stages(moments: dict[str, list[Turn]]) -> None:
    """Notes when the last entries were sent and when the winner was registered."""
    from energytune.search.clock import StageClock

    real, names = StageClock.stage, {"tracking": "drain", "registry": "registry"}

    @contextmanager
    def stage(self: StageClock, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with real(self, name):
                yield
        finally:
            if name in names:
                moments[names[name]].append((started, time.perf_counter()))

    StageClock.stage = stage  # type: ignore[method-assign]


# results


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the ratio on/off with its 95 % interval, and the sum of what was counted."""
    from scipy import stats

    pairs: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault(row["pair"], {})[row["arm"]] = row
    logs = [
        math.log((both["on"]["wall_s"] - both["on"]["registry_s"]) / both["off"]["wall_s"])
        for both in pairs.values()
    ]
    mean, n = statistics.fmean(logs), len(logs)
    half = math.nan
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(logs) / math.sqrt(n)
    tracked = [both["on"] for both in pairs.values()]
    held = [(r["driver_s"] + r["drain_s"]) / r["wall_s"] for r in tracked]
    more = [both["on"]["process_cpu_s"] - both["off"]["process_cpu_s"] for both in pairs.values()]
    cpu = [r["sender_cpu_s"] / (n_cpus() * r["wall_s"]) for r in tracked]
    return {
        "n_pairs": n,
        "target": TARGET,
        "added": math.expm1(mean),
        "added_low": math.expm1(mean - half),
        "added_high": math.expm1(mean + half),
        "median_added": math.expm1(statistics.median(logs)),
        "wall_on_s": statistics.median(r["wall_s"] for r in tracked),
        "wall_off_s": statistics.median(both["off"]["wall_s"] for both in pairs.values()),
        "held_share": statistics.median(held),
        "driver_more_cpu_s": statistics.median(more),
        "sender_share_of_all_cpus": statistics.median(cpu),
        "sender_cpu_s": statistics.median(r["sender_cpu_s"] for r in tracked),
        "drain_s": statistics.median(r["drain_s"] for r in tracked),
        "registry_s": statistics.median(r["registry_s"] for r in tracked),
    }


if __name__ == "__main__":
    main()
