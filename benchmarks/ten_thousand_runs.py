"""How long a user waits for runs, champion and report when the default store holds 10,000 trials.

A real search is run first. Its records are then varied and written, as so many searches, by the
observer into journals and from there by the sender's own code into the SQLite store that all
searches without ``--out`` share. What a user waits for is measured as commands, imports included,
and as answers of the server behind ``energytune ui``.

    python benchmarks/ten_thousand_runs.py                       # filling takes 300 CPU seconds
    python benchmarks/ten_thousand_runs.py --trials 200 --searches 2 --out small.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import RESULTS, hardware, idle_load, metadata, write_csv, write_json

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 5.0
_LAST_SNAPSHOT = 64
"""Probing epochs kept of a varied trial: filling is linear in the points, and takes long."""


def main() -> None:
    """Fills the store, measures, and writes the rows."""
    options = parse()
    home = options.home or Path(tempfile.mkdtemp(prefix="ten-thousand-"))
    home.mkdir(parents=True, exist_ok=True)
    fill = filled(home, options)
    print(f"{home}: {fill}", flush=True)
    load_before = idle_load()
    rows = measured(home, options)
    for row in rows:
        verdict = (
            "" if row["limit_s"] is None else "ok" if row["median_s"] < LIMIT_S else "TOO SLOW"
        )
        print(
            f"{row['what']:<58} {row['median_s']:7.2f} s  "
            f"(max {row['max_s']:.2f}, CPU {row['median_cpu_s']:.2f})  {verdict}"
        )
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "home")}
    head = metadata(
        settings=settings,
        cpus_busy_before=round(load_before, 2),
        load_average=[round(x, 1) for x in os.getloadavg()],
    )
    write_json(options.out, {**head, "fill": fill, "rows": rows})
    write_csv(
        options.out.with_suffix(".csv"),
        [{k: v for k, v in r.items() if k != "all_s"} for r in rows],
    )
    print(options.out)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=10_000, help="of all searches together")
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--ft-epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--home", type=Path, help="folder to fill, or one that is filled already")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"ten_thousand_runs-{hardware()}.json"
    return options


# filling the store


def filled(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fills the default store below ``home``, unless it is; returns what is in it."""
    note = home / "filled.json"
    if note.exists():
        return dict(json.loads(note.read_text()))
    runs = home / "energytune-runs"
    command("search", "--dataset", "digits", "--trials", "6", "--sampler", "random",
            "--finetune-epochs", str(options.ft_epochs), "--out", "energytune-runs/real",
            home=home)  # fmt: skip
    from energytune.trial import record_from_dict

    lines = (runs / "real" / "records.jsonl").read_text().splitlines()
    real = [record_from_dict(json.loads(line)) for line in lines]
    trials = [r for r in real if r.job.is_trial and r.duplicate_of is None]
    others = [r for r in real if r.job.role in ("confirm", "test")]
    started, cpu = time.perf_counter(), time.process_time()
    totals = {"n_trials": 0, "n_points": 0, "observe_s": 0.0, "send_s": 0.0, "send_cpu_s": 0.0}
    for number in range(options.searches):
        n_trials = options.trials // options.searches
        told = write_search(runs, number, n_trials, trials, others, options)
        for name, value in told.items():
            totals[name] += value
        print(f"{totals['n_trials']} trials, {time.perf_counter() - started:.0f} s", flush=True)
    totals |= {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "store_mib": (runs / "mlflow.db").stat().st_size / 2**20,
        "n_searches": options.searches,
    }
    totals = {k: round(v, 2) for k, v in totals.items()}
    write_json(note, totals)
    return totals


def write_search(
    runs: Path, number: int, n_trials: int, trials: list[Any], others: list[Any], options: Any
) -> dict[str, float]:
    """Writes one search: folder, journal, store, registered model; returns its costs."""
    from energytune.tracking import TrackingJournal, TrackingObserver, default_uri
    from energytune.tracking.drain import Drain
    from energytune.tracking.registry import register_pending
    from energytune.tracking.store import artifact_root

    rng = random.Random(number)
    folder, uri = runs / f"digits-{number:03d}", default_uri(runs)
    folder.mkdir()
    search_id = f"bench{number:03d}"
    for name in ("search.json", "about.json"):
        source = runs / "real" / name
        if source.exists():
            plain = json.loads(source.read_text())
            plain |= {"search_id": search_id} if "search_id" in plain else {}
            (folder / name).write_text(json.dumps(plain))
    made = [varied(trials, i, rng) for i in range(n_trials)]
    journal = TrackingJournal(folder / "tracking.jsonl")
    began = time.perf_counter()
    params = {"ft_epochs": options.ft_epochs, "n_trials": n_trials}
    observer = TrackingObserver(journal, search_id, "digits", "digits-mlp", params)
    with (folder / "records.jsonl").open("w") as records:
        for record in [*made, *others]:
            observer.job_ended(record)
            records.write(json.dumps(record.to_dict()) + "\n")
    observer.finish(files=[folder / "records.jsonl"])
    observed = time.perf_counter()
    cpu = time.process_time()
    Drain(journal, uri, artifact_root(uri, runs))()
    sent, sent_cpu = time.perf_counter(), time.process_time()
    note = json.loads((runs / "real" / "registration.json").read_text())
    run_uid = note["run_uid"].split(".", 1)[1]
    weights = [note["weights"]] if not Path(note["weights"]).is_absolute() else []
    evidence = [note["evidence"]] if note.get("evidence") else []
    for name in [*weights, *evidence]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((runs / "real" / name).read_bytes())
    note |= {"run_uid": f"{search_id}.{run_uid}", "search_id": search_id}
    (folder / "registration.json").write_text(json.dumps(note))
    register_pending(uri, folder)
    n_points = sum(len(e.get("metrics", ())) for e in journal.read().entries)
    return {
        "n_trials": n_trials,
        "n_points": n_points,
        "observe_s": observed - began,
        "send_s": sent - observed,
        "send_cpu_s": sent_cpu - cpu,
    }


def varied(trials: list[Any], number: int, rng: random.Random) -> Any:
    """Returns a trial of the real search as number ``number``: the first few as they were."""
    record = trials[number % len(trials)]
    if number < len(trials):
        return record
    recipe = record.job.recipe.model_copy(update={"ft_lr": round(rng.uniform(0.001, 0.1), 6)})
    job = dataclasses.replace(
        record.job, id=f"t{number:03d}", number=number, recipe=recipe, role="search"
    )
    shift = rng.uniform(-0.05, 0.0)
    finished = record.finished
    if finished is not None:
        finished = dataclasses.replace(finished, objective=finished.objective + shift)
    late = 1000 * number
    snapshots = tuple(shot for shot in record.snapshots if shot.epoch <= _LAST_SNAPSHOT)
    return dataclasses.replace(
        record,
        job=job,
        finished=finished,
        snapshots=snapshots,
        started_ms=(record.started_ms or 0) + late,
        ended_ms=(record.ended_ms or 0) + late,
    )


# measuring


def measured(home: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures what a user waits for."""
    one = "energytune-runs/digits-000"
    page = home / "page.html"
    commands = {
        "energytune --version (Python and imports alone)": ["--version"],
        "energytune champion show": ["champion", "show", "--dataset", "digits"],
        "energytune champion history": ["champion", "history", "--dataset", "digits"],
        "energytune report, one search": ["report", one, "--out", str(page)],
        "energytune sync, one search, all of it sent before": ["sync", one],
    }
    rows = []
    for what, arguments in commands.items():
        limit = None if "--version" in arguments else LIMIT_S
        rows.append(row(what, options.repeats, limit, lambda a=arguments: command(*a, home=home)))
    return rows + listings(home, options.repeats)


def listings(home: Path, repeats: int) -> list[dict[str, Any]]:
    """Asks the server behind ``energytune ui`` what its pages ask."""
    from energytune.tracking import default_uri, start_ui

    with start_ui(default_uri(home / "energytune-runs")) as server:
        server.wait_until_ready()

        def ask(what: str, **body: Any) -> dict[str, Any]:
            url = f"{server.url}/ajax-api/2.0/mlflow/{what}"
            data = json.dumps(body).encode() if body else None
            request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                return dict(json.loads(answer.read()))

        found = ask("experiments/get-by-name?experiment_name=energytune-digits")
        experiment = found["experiment"]["experiment_id"]
        # the UI asks for pages of 100
        of_search = "tags.`energytune.search` = 'bench000'"
        best = ["metrics.`objective` DESC"]
        pages = {
            "a page of 100 runs of one search, best first": {
                "filter": of_search, "order_by": best, "max_results": 100,
            },
            "a page of 100 runs of all searches, newest first": {
                "order_by": ["attributes.start_time DESC"], "max_results": 100,
            },
            "a page of 100 runs of all searches, best first": {
                "order_by": best, "max_results": 100,
            },
        }  # fmt: skip
        rows = []
        for what, body in pages.items():
            asked = {"experiment_ids": [experiment], "run_view_type": "ACTIVE_ONLY", **body}
            if len(ask("runs/search", **asked)["runs"]) != 100:
                raise RuntimeError(f"{what}: the page is not full")
            rows.append(
                row(f"UI: {what}", repeats, LIMIT_S, lambda a=asked: ask("runs/search", **a))
            )
        models = {"filter": "name = 'energytune-digits'", "max_results": "100"}
        query = "&".join(f"{k}={urllib.request.quote(v)}" for k, v in models.items())
        rows.append(
            row("UI: the model's versions", repeats, LIMIT_S,
                lambda: ask(f"model-versions/search?{query}"))
        )  # fmt: skip
        return rows


def row(
    what: str, repeats: int, limit_s: float | None, action: Callable[[], object]
) -> dict[str, Any]:
    """Times an action ``repeats`` times, after one that is not counted."""
    action()
    walls, cpus = [], []
    for _ in range(repeats):
        before, started = os.times(), time.perf_counter()
        action()
        walls.append(time.perf_counter() - started)
        after = os.times()
        cpus.append(
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip
    return {
        "what": what,
        "limit_s": limit_s,
        "median_s": round(statistics.median(walls), 3),
        "max_s": round(max(walls), 3),
        "median_cpu_s": round(statistics.median(cpus), 3),
        "all_s": [round(wall, 3) for wall in walls],
    }


def command(*arguments: str, home: Path) -> None:
    """Runs an ``energytune`` command as a process of its own in ``home``."""
    code = "from energytune.cli.main import main; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=home, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"energytune {' '.join(arguments)}:\n{done.stdout}{done.stderr}"[-3000:])


if __name__ == "__main__":
    main()
