"""What a search costs beside its training, against the script a user would write today.

Runs, interleaved and each in fresh folders:

    ours   energytune search --dataset digits --trials N --json, everything on, cold cache
    a      peers/ray_optuna_asha.py --variant a: library defaults, MLflow on
    b      peers/ray_optuna_asha.py --variant b: tuned by hand, no tracking

The peers find the pretrained backbone in a cache; ours pretrains it on first use, and that share
is shown apart. At the end each winner's recipe is finetuned on fresh seeds and tested.

    python benchmarks/search_overhead.py --repeats 3           # a quiet machine, 20 minutes
    python benchmarks/search_overhead.py --trials 3 --ft-epochs 5 --test-seeds 1 --out overhead.json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import RESULTS, Stopwatch, hardware, idle_load, metadata, write_json

ROOT = Path(__file__).resolve().parent.parent
PEER = Path(__file__).parent / "peers" / "ray_optuna_asha.py"
CONTENDERS = ("ours", "a", "b")
FRESH_SEED = 50_000  # neither a search (0, 1, ...) nor a confirmation (1000, ...) has seen these


def main() -> None:
    """Runs all contenders, writes the rows and the summary, and prints the summary."""
    options = parse()
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="search_overhead-") as scratch:
        warm = Path(scratch) / "warm-cache"
        build_bench(warm, options.ft_epochs)  # pretrains the peers' backbone
        for repeat in range(options.repeats):
            for name in rotated(options.contenders, repeat):
                folder = Path(scratch) / f"{repeat}-{name}"
                folder.mkdir()
                run = run_contender(name, repeat, options, folder, warm)
                runs.append(run)
                print(
                    f"repeat {repeat} {name:>4}: {run['wall_s']:6.1f} s wall, "
                    f"{run['machine_cpu_s']:6.1f} s CPU, valid {100 * run['best_valid_acc']:.1f} %",
                    flush=True,
                )
        profile = profiled(options, Path(scratch)) if "ours" in options.contenders else None
        add_test_accuracy(runs, options, warm)
    summary = summarise(runs, options, profile)
    write_csv(options.out.with_suffix(".csv"), runs)
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    head = metadata(settings=settings, cpus_busy_before=round(load_before, 2))
    write_json(options.out, {**head, "summary": summary, "runs": runs})
    print_summary(summary)
    print(f"\n{options.out}\n{options.out.with_suffix('.csv')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--ft-epochs", type=int, default=200)
    parser.add_argument("--test-seeds", type=int, default=5, help="fresh seeds of each winner")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds a run may take")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"search_overhead-{hardware()}.json"
    return options


def rotated(names: list[str], repeat: int) -> list[str]:
    """Returns the contenders, another one first in each repeat."""
    start = repeat % len(names)
    return [*names[start:], *names[:start]]


# one run


def run_contender(
    name: str, seed: int, options: argparse.Namespace, folder: Path, warm: Path
) -> dict[str, Any]:
    """Runs one contender to its end and returns its times and its recipe."""
    common = ["--trials", options.trials, "--seed", seed]
    common += ["--concurrency", options.concurrency]
    if name == "ours":
        command = [*console_script(), "search", "--dataset", "digits", *common]
        command += ["--finetune-epochs", options.ft_epochs, "--out", folder / "run", "--json"]
        cache = folder / "cache"
    else:
        command = [sys.executable, PEER, "--variant", name, *common]
        command += ["--ft-epochs", options.ft_epochs]
        cache = warm
    document, watch = timed(command, folder, cache, options.timeout)
    run = {
        "contender": name,
        "seed": seed,
        "wall_s": watch.wall_s,
        "machine_cpu_s": watch.machine_cpu_s,
        "children_cpu_s": watch.children_cpu_s,
    }
    return run | (of_ours(document) if name == "ours" else of_peer(document))


def timed(
    command: list[Any], folder: Path, cache: Path, timeout: float
) -> tuple[dict[str, Any], Stopwatch]:
    """Runs a command in ``folder`` and returns the JSON at the end of its output."""
    environment = {
        **os.environ,
        "ENERGYTUNE_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
    }
    with (
        (folder / "stdout").open("w") as out,
        (folder / "stderr").open("w") as err,
        Stopwatch() as w,
    ):
        ended = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    output = (folder / "stdout").read_text()
    if ended.returncode != 0:
        tail = (folder / "stderr").read_text()[-3000:]
        raise SystemExit(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{tail}")
    return last_json(output), w


def last_json(output: str) -> dict[str, Any]:
    """Returns the JSON document that begins at the start of a line and ends the output."""
    begins = [0] if output.startswith("{") else []
    begins += [i + 1 for i in range(len(output)) if output.startswith("\n{", i)]
    for begin in begins:
        try:
            document = json.loads(output[begin:])
        except json.JSONDecodeError:
            continue
        if isinstance(document, dict):
            return document
    raise SystemExit(f"There is no JSON document at the end of: {output[-500:]!r}")


def console_script() -> list[str]:
    """Returns how the installed command is called."""
    script = Path(sys.executable).parent / "energytune"
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from energytune.cli.main import main; main()"]


def of_ours(document: dict[str, Any]) -> dict[str, Any]:
    """Reads what ``energytune search --json`` printed."""
    winner, costs = document["winner"], document["costs"]
    return {
        "recipe": winner["recipe"],
        "best_valid_acc": winner["ft_valid_acc"],
        "n_trials": sum(costs[f"n_{state}"] for state in ("complete", "pruned", "failed")),
        "n_pruned": costs["n_pruned"],
        "ft_epochs": costs["ft_epochs"],
        "ft_epochs_confirm": costs["ft_epochs_confirm"],
        "seconds": costs["seconds"],
    }


def of_peer(document: dict[str, Any]) -> dict[str, Any]:
    """Reads what the peer script printed."""
    wanted = ("recipe", "best_valid_acc", "n_trials", "ft_epochs", "seconds")
    return {name: document[name] for name in wanted}


def profiled(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Runs ours once more with timers around the study, for Optuna's share; not compared."""
    folder = scratch / "profiled"
    folder.mkdir()
    script = Path(__file__).parent / "timed_search.py"
    command = [sys.executable, script, "search", "--dataset", "digits", "--json"]
    command += ["--trials", options.trials, "--finetune-epochs", options.ft_epochs]
    command += ["--concurrency", options.concurrency, "--out", folder / "run"]
    document, watch = timed(command, folder, folder / "cache", options.timeout)
    study = json.loads((folder / "study_seconds.json").read_text())
    return {"wall_s": watch.wall_s, "study": study, "seconds": document["costs"]["seconds"]}


# the winners on fresh seeds


def build_bench(cache: Path, ft_epochs: int, model_dir: Path | None = None) -> Any:
    """Builds the bench of the default task."""
    from energytune.config import load_space
    from energytune.trial.bench import BenchSpec

    space = load_space("default")
    return BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        probe=space.probe,
        finetune=space.finetune.model_copy(update={"epochs": ft_epochs, "patience": None}),
        cache=cache,
        model_dir=model_dir or cache / "models",
    ).build()


def test_accuracy(
    job: tuple[int, dict[str, Any], int], *, cache: Path, ft_epochs: int
) -> tuple[int, float]:
    """Finetunes one winner's recipe with one fresh seed; returns its run and test accuracy."""
    from energytune.config import Recipe
    from energytune.trial import Job, Tested
    from energytune.trial.run import run_trial

    index, recipe, seed = job
    bench = build_bench(cache, ft_epochs, cache / f"models-{os.getpid()}")
    *_, tested = run_trial(bench, Job(f"r{index}-s{seed}", 0, Recipe(**recipe), seed, "test"))
    if not isinstance(tested, Tested):
        raise RuntimeError(f"The recipe {recipe} was not tested.")
    return index, tested.test.accuracy


def add_test_accuracy(runs: list[dict[str, Any]], options: argparse.Namespace, cache: Path) -> None:
    """Adds ``test_acc``, the mean over fresh seeds, to every run."""
    seeds = range(FRESH_SEED, FRESH_SEED + options.test_seeds)
    jobs = [(index, run["recipe"], seed) for index, run in enumerate(runs) for seed in seeds]
    work = partial(test_accuracy, cache=cache, ft_epochs=options.ft_epochs)
    found: dict[int, list[float]] = {index: [] for index in range(len(runs))}
    with get_context("spawn").Pool(options.concurrency) as pool:
        for index, accuracy in pool.imap(work, jobs):
            found[index].append(accuracy)
    for index, run in enumerate(runs):
        run["test_acc_by_seed"] = found[index]
        run["test_acc"] = fmean(found[index])


# the summary


def summarise(
    runs: list[dict[str, Any]], options: argparse.Namespace, profile: dict[str, Any] | None
) -> dict[str, Any]:
    """Medians over repeats, ratios paired within a repeat, and ours by stage."""
    by_name = {name: [r for r in runs if r["contender"] == name] for name in options.contenders}
    keys = ("wall_s", "machine_cpu_s", "children_cpu_s", "best_valid_acc", "test_acc", "ft_epochs")
    summary: dict[str, Any] = {
        "median": {
            name: {key: median(run[key] for run in own) for key in keys}
            for name, own in by_name.items()
        },
        "test_acc_mean": {name: fmean(r["test_acc"] for r in own) for name, own in by_name.items()},
    }
    if "ours" not in by_name:
        return summary
    stages = [stage_seconds(run, options.concurrency) for run in by_name["ours"]]
    names = sorted({name for stage in stages for name in stage})
    summary["ours_seconds"] = {n: median(stage.get(n, 0.0) for stage in stages) for n in names}
    summary["optuna"] = profile and {
        **profile["study"],
        "share_of_search": profile["study"]["seconds"] / profile["seconds"]["search"],
    }
    search_only = [stage["without_confirm"] for stage in stages]
    for peer in [name for name in by_name if name != "ours"]:
        pairs = list(zip(by_name["ours"], search_only, by_name[peer], strict=True))
        summary[f"ours_over_{peer}"] = {
            "wall": median(o["wall_s"] / p["wall_s"] for o, _, p in pairs),
            "wall_without_confirm": median(s / p["wall_s"] for _, s, p in pairs),
            "machine_cpu": median(o["machine_cpu_s"] / p["machine_cpu_s"] for o, _, p in pairs),
        }
    return summary


def stage_seconds(run: dict[str, Any], concurrency: int) -> dict[str, float]:
    """Returns ours by stage in wall-clock seconds.

    ``hp`` and ``ft`` are summed over the workers by the search; here they are divided by the
    number of workers, so that everything adds up to the wall clock. ``imports`` is what passed
    before the search's clock began and after it ended; ``overhead_share`` is all but HP and FT
    of the run without its confirmation.
    """
    told = dict(run["seconds"])
    stages = {name: told.get(name, 0.0) for name in told if name not in ("total", "hp", "ft")}
    stages["hp"], stages["ft"] = told["hp"] / concurrency, told["ft"] / concurrency
    stages["imports"] = run["wall_s"] - told["total"]
    stages["search_beside_training"] = told["search"] - stages["hp"] - stages["ft"]
    stages["wall"] = run["wall_s"]
    stages["without_confirm"] = run["wall_s"] - told.get("confirm", 0.0)
    training = stages["hp"] + stages["ft"]
    stages["overhead_share"] = 1.0 - training / stages["without_confirm"]
    return stages


def write_csv(path: Path, runs: list[dict[str, Any]]) -> None:
    """Writes one line a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = ("contender", "seed", "wall_s", "machine_cpu_s", "children_cpu_s", "n_trials")
    plain += ("ft_epochs", "best_valid_acc", "test_acc")
    stages = sorted({name for run in runs for name in run["seconds"]})
    header = [*plain, *(f"seconds_{name}" for name in stages), "recipe"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for run in runs:
            values = [run[name] for name in plain]
            values += [run["seconds"].get(name, "") for name in stages]
            told = [f"{v:.4f}" if isinstance(v, float) else v for v in values]
            writer.writerow([*told, json.dumps(run["recipe"])])


def print_summary(summary: dict[str, Any]) -> None:
    """Prints the medians, ours by stage, and the ratios beside their targets."""
    print("\nMedian over repeats     wall s    CPU s   FT epochs   valid %   test % (mean)")
    for name, own in summary["median"].items():
        test_acc = summary["test_acc_mean"][name]
        print(
            f"  {name:<18} {own['wall_s']:9.1f} {own['machine_cpu_s']:8.1f}"
            f" {own['ft_epochs']:11.0f} {100 * own['best_valid_acc']:9.1f} {100 * test_acc:8.1f}"
        )
    if "ours_seconds" not in summary:
        return
    print("\nOurs by stage, seconds of wall clock (hp and ft: sum over workers / workers)")
    stages = summary["ours_seconds"]
    for name in sorted(stages, key=stages.get, reverse=True):
        if name != "overhead_share":
            print(f"  {name:<24} {stages[name]:8.2f}")
    if summary["optuna"]:
        study = summary["optuna"]
        print(
            f"  the study (Optuna), in a run of its own: {study['seconds']:.2f} s in "
            f"{study['calls']} calls, {100 * study['share_of_search']:.1f} % of the search"
        )
    share = stages["overhead_share"]
    print(
        f"\nOverhead, all but HP and FT, without confirmation: {100 * share:.0f} % (target: < 40)"
    )
    for peer, target in (("a", 0.2), ("b", 1.0)):
        ratio = summary.get(f"ours_over_{peer}")
        if ratio:
            print(
                f"Wall clock over ({peer}): {ratio['wall_without_confirm']:.2f} without "
                f"confirmation, {ratio['wall']:.2f} with it (target: <= {target:g}); "
                f"CPU {ratio['machine_cpu']:.2f}"
            )


if __name__ == "__main__":
    main()
