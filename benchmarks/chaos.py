"""Kills searches at random moments, goes on with them, and looks for what was lost or done twice.

A small search is run undisturbed for each seed. Then, in each round, the same search is started
and killed with SIGKILL at a random moment: its driver (also twice in a row), or the worker process
that trains; ``energytune resume`` goes on until it has ended. Afterwards the round must have left

- the study of the undisturbed search: every trial once, the same parameters, states and values;
- in MLflow one run for each of them and for each confirmation, no point of a curve twice, and one
  registered version;
- no finetuning epoch trained again that lay before the last checkpoint of its run;
- the same winner, with the same test score;
- no checkpoint file and no process.

    python -m benchmarks.chaos --rounds 100 --jobs 2
    python -m benchmarks.chaos --rounds 3 --out rounds.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil

from benchmarks.chaos_left import what_is_left
from benchmarks.machine import RESULTS, hardware, metadata, write_csv, write_json

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("driver", "driver", "driver twice", "worker", "worker and driver")
N_SEEDS = 4
TRIALS, FT_EPOCHS = 6, 40
_EARLIEST, _LATEST = 0.1, 1.05
"""Kills are drawn over this part of the undisturbed search's time: before, nothing is written;
after it, a slow moment of the machine may have made it longer."""


def main() -> None:
    """Runs the rounds, writes the rows, and prints what was found."""
    options = parse()
    if options.child is not None:
        child(options.child, options.seed)
        return
    scratch = Path(tempfile.mkdtemp(prefix="chaos-", dir=options.scratch))
    try:
        rows = run_rounds(options, scratch)
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    told = summary(rows)
    write_json(options.out, {**metadata(settings=settings(options)), "summary": told, "rows": rows})
    write_csv(
        options.out.with_suffix(".csv"), [{**r, "wrong": "; ".join(r["wrong"])} for r in rows]
    )
    print(json.dumps(told, indent=2))
    print(options.out)
    if told["n_wrong"]:
        sys.exit(1)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1, help="rounds at once")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--scratch", help="folder for the searches; default: the temporary one")
    parser.add_argument("--keep", action="store_true", help="leave the searches there")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"chaos-{hardware()}.json"
    return options


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what the rounds had in common."""
    kept = {name: getattr(options, name) for name in ("rounds", "jobs", "first")}
    return {**kept, "trials": TRIALS, "ft_epochs": FT_EPOCHS, "kinds": sorted(set(KINDS))}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the counts over all rounds."""
    return {
        "n_rounds": len(rows),
        "n_wrong": sum(bool(row["wrong"]) for row in rows),
        "n_kills": sum(row["n_kills"] for row in rows),
        "n_starts": sum(row["n_starts"] for row in rows),
        "kills_by_stage": dict(Counter(stage for row in rows for stage in row["stages"])),
        "rounds_by_kind": dict(Counter(row["kind"] for row in rows)),
        "ft_epochs_trained_again": sum(row["n_again"] for row in rows),
    }


# rounds


def run_rounds(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Runs the undisturbed searches and then the rounds."""
    cache = scratch / "cache"
    wanted = sorted({n % N_SEEDS for n in range(options.first, options.first + options.rounds)})
    whole = {seed: undisturbed(scratch, cache, seed) for seed in wanted}
    rows: list[dict[str, Any]] = []

    def one(number: int) -> dict[str, Any]:
        row = run_round(number, whole[number % N_SEEDS], scratch, cache)
        if not (row["wrong"] or options.keep):
            shutil.rmtree(scratch / f"round-{number:03d}", ignore_errors=True)
        return row

    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(one, range(options.first, options.first + options.rounds)):
            rows.append(row)
            print(
                f"round {row['round']:3d} {row['kind']:<18} {row['n_kills']} kills at "
                f"{', '.join(row['stages']) or '-'}; {row['n_again']} epochs again; "
                f"{row['seconds']:.0f} s; {'; '.join(row['wrong']) or 'ok'}",
                flush=True,
            )
    return rows


def undisturbed(scratch: Path, cache: Path, seed: int) -> dict[str, Any]:
    """Runs the search of a seed to its end; returns what it leaves, and its seconds."""
    home = scratch / f"whole-{seed}"
    home.mkdir(parents=True)
    started = time.monotonic()
    with start(home, cache, seed) as process:
        finish(process, home)
    seconds = time.monotonic() - started
    left = what_is_left(home)
    if left["wrong"]:
        raise SystemExit(f"The undisturbed search of seed {seed} is wrong: {left['wrong']}")
    return {"seconds": seconds, **left}


def run_round(number: int, whole: dict[str, Any], scratch: Path, cache: Path) -> dict[str, Any]:
    """Disturbs one search and compares what it leaves with the undisturbed one."""
    rng = random.Random(number)
    kind, home = KINDS[number % len(KINDS)], scratch / f"round-{number:03d}"
    home.mkdir(parents=True)
    started = time.monotonic()
    stages: list[str] = []
    n_starts = 0
    kills = {"driver twice": ["driver", "driver"], "worker and driver": ["worker", "driver"]}.get(
        kind, [kind]
    )
    while True:
        n_starts += 1
        if n_starts > 8:
            raise SystemExit(f"Round {number} does not end: see {home}.")
        with start(home, cache, number % N_SEEDS) as process:
            until_s = time.monotonic()
            while kills:
                share = rng.uniform(_EARLIEST, _LATEST) / (1 + (n_starts > 1))
                until_s += share * whole["seconds"]
                stage = wait_and_kill(process, kills[0], until_s, home)
                if stage is None:  # it had ended before
                    break
                stages.append(f"{kills.pop(0)} in {stage}")
                if stages[-1].startswith("driver"):
                    break
            if process.poll() is None and not (stages and stages[-1].startswith("driver")):
                finish(process, home)
            process.wait()
            sweep(process.pid)
            if process.returncode == 0:
                break
            if process.returncode != -signal.SIGKILL:
                raise SystemExit(f"Round {number} failed: see {home / 'log.txt'}.")
    left = what_is_left(home)
    wrong = list(left["wrong"])
    for name in ("trials", "runs", "winner"):
        if left[name] != whole[name]:
            wrong.append(f"{name}: {difference(left[name], whole[name])}")
    return {
        "round": number,
        "seed": number % N_SEEDS,
        "kind": kind,
        "n_kills": len(stages),
        "stages": stages,
        "n_starts": n_starts,
        "n_again": left["n_again"],
        "seconds": round(time.monotonic() - started, 1),
        "wrong": wrong,
    }


def difference(left: Any, whole: Any) -> str:
    """Returns the first difference of two lists, or both values."""
    if isinstance(left, list) and isinstance(whole, list):
        for ours, theirs in zip(left, whole, strict=False):
            if ours != theirs:
                return f"{ours} instead of {theirs}"[:400]
        return f"{len(left)} instead of {len(whole)}"
    return f"{left} instead of {whole}"[:400]


# processes


def start(home: Path, cache: Path, seed: int) -> subprocess.Popen[bytes]:
    """Starts the search, or goes on with it, in a process of its own."""
    mine = home / "cache"
    if not mine.exists() and cache.exists():  # without what was probed: that may be killed too
        ignore = shutil.ignore_patterns("trajectories")
        shutil.copytree(cache, mine, ignore=ignore)
    environment = {
        **os.environ,
        "ENERGYTUNE_CACHE": str(mine if cache.exists() else cache),
        "CHAOS_TRAINED": str(home / "trained.txt"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
    }
    command = [sys.executable, "-m", "benchmarks.chaos", "--child", str(home / "run")]
    with open(home / "log.txt", "ab") as log:
        return subprocess.Popen(
            [*command, "--seed", str(seed)], cwd=home, env=environment, stdout=log, stderr=log
        )


def finish(process: subprocess.Popen[bytes], home: Path) -> None:
    """Waits for the end of a search that is not disturbed any more."""
    if process.wait(timeout=900) != 0:
        raise SystemExit(f"A search failed: see {home / 'log.txt'}.")


def wait_and_kill(
    process: subprocess.Popen[bytes], what: str, until_s: float, home: Path
) -> str | None:
    """Kills at a moment; returns the stage the search was in, None if it had ended before."""
    while time.monotonic() < until_s:
        if process.poll() is not None:
            return None
        time.sleep(0.01)
    if what == "driver":
        stage = stage_of(home)
        process.kill()
        process.wait()
        return stage
    while process.poll() is None:  # there may be no worker yet
        for worker in workers_of(process.pid):
            stage = stage_of(home)
            with suppress(psutil.Error):
                worker.kill()
                return stage
        time.sleep(0.02)
    return None


def workers_of(pid: int) -> list[psutil.Process]:
    """Returns the processes in which jobs of a driver run."""
    with suppress(psutil.Error):
        below = psutil.Process(pid).children(recursive=True)
        return [p for p in below if _title(p).startswith("ray::") and "JobWorker" in _title(p)]
    return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def sweep(pid: int) -> None:
    """Waits until what a killed driver had started is gone, and ends what is not."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        left = [p for p in psutil.process_iter() if f"_{pid}/" in _title(p)]  # Ray's session name
        if not left:
            return
        time.sleep(0.2)
    for process in left:
        with suppress(psutil.Error):
            process.kill()


def stage_of(home: Path) -> str:
    """Returns what a search is doing, by the files that it has written."""
    run = home / "run"
    if (run / "registration.json").exists():
        return "registration"
    if not (run / "study.journal").exists():
        return "start"
    roles: Counter[str] = Counter()
    if (run / "records.jsonl").exists():
        for line in (run / "records.jsonl").read_text(errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                roles[json.loads(line)["job"]["role"]] += 1
    if roles["test"]:
        return "test"
    if roles["confirm"]:
        return "confirmation"
    journal = (run / "study.journal").read_text(errors="replace")
    last = [line for line in journal.splitlines() if '"trial_id"' in line][-1:]
    probing = not last or '"recipe"' in last[0] or '"seed"' in last[0] or '"role"' in last[0]
    return "HP" if probing else "FT"


# in the child


def child(out: Path, seed: int) -> None:
    """Starts the search, or goes on with it if it had a first trial."""
    import energytune.search.run as run
    from energytune.cli.options import SearchOptions
    from energytune.search.resume import resumed_config

    if (out / "about.json").exists():
        config = resumed_config(out)
    else:
        config = SearchOptions(
            trials=TRIALS,
            seed=seed,
            finetune_epochs=FT_EPOCHS,
            concurrency=1,
            checkpoint_every="0s",
            confirm_seeds=2,
            confirm_recipes=2,
            out=out,
        ).to_config("default")
    run.make_run_job = audited_run_job
    run.run_search(config)


def audited_run_job(spec: Any) -> Any:
    """Makes the worker write down which epochs it trains and which it has in a checkpoint."""
    from energytune.training.finetune import Finetuner
    from energytune.trial import run
    from energytune.trial.checkpoints import Checkpoints

    book = os.open(os.environ["CHAOS_TRAINED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    tuner_of, train, save = run._tuner, Finetuner._train_one_epoch, Checkpoints.save

    def tuner(bench: Any, model: Any, job: Any) -> Any:
        made = tuner_of(bench, model, job)
        made.of = f"{job.recipe.key()} {job.seed}"
        return made

    def trained(self: Any) -> Any:
        os.write(book, f"trained {self.of} {self.epoch}\n".encode())
        return train(self)

    def saved(self: Any, job: Any, checkpoint: Any) -> None:
        save(self, job, checkpoint)
        of = f"{job.recipe.key()} {job.seed}"
        os.write(book, f"kept {of} {checkpoint.epochs[-1].epoch}\n".encode())

    run._tuner, Finetuner._train_one_epoch, Checkpoints.save = tuner, trained, saved
    return run.make_run_job(spec)


if __name__ == "__main__":
    main()
