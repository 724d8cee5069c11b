"""Feeds damaged and hostile files to every reader: each must read them or refuse them as ours.

    python -m benchmarks.fuzz --inputs 10000 --seed 0        # about 15 CPU minutes
    python -m benchmarks.fuzz --inputs 200 --targets images checkpoints
    python -m benchmarks.fuzz --again images:123             # one input, with its traceback

Search spaces, options, tables, images, masks, archives, checkpoints, journals, studies, caches,
models and requests: valid files are made, some by a real search, and damaged in their own grammar.
An error of ``energytune.errors`` is a refusal; anything else, 20 CPU seconds, 2 GiB of memory, or
the end of the process is a crash, and the exit code is then 1. A crash is kept under ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.fuzzing.targets import TARGETS
from benchmarks.fuzzing.worker import LIMIT_BYTES, LIMIT_S
from benchmarks.machine import RESULTS, hardware, metadata, write_csv, write_json

_HUNG_S = 600.0


def main() -> None:
    """Makes the seeds, feeds all targets, and writes what came out."""
    options = _parse()
    home = options.home or Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.environ["ENERGYTUNE_CACHE"] = str(home / "cache")
    make_seeds(home)
    if options.again:
        target, _, number = options.again.rpartition(":")
        print(json.dumps(*run(target, int(number), 1, options.seed, home), indent=1))
        return
    chosen = options.targets or list(TARGETS)
    rows, crashes = [], []
    for name in chosen:
        count = share_of(name, chosen, options.inputs)
        told = run(name, 0, count, options.seed, home)
        rows.append(row_of(name, told))
        found = [{"target": name, **one} for one in told if one["outcome"] == "crashed"]
        crashes += found
        print(f"{name:<18} {rows[-1]}", flush=True)
        for one in found[:20]:
            print(f"  {one['number']}: {one['error']}", flush=True)
    keep(options.keep or home / "crashes", crashes)
    n_inputs = sum(row["inputs"] for row in rows)
    print(f"{n_inputs:,} inputs, {len(crashes)} crashes; {home}")
    if options.out:
        settings = {"inputs": options.inputs, "seed": options.seed, "targets": chosen}
        limits = {"cpu_s": LIMIT_S, "memory_bytes": LIMIT_BYTES}
        head = metadata(settings=settings, limits=limits, n_inputs=n_inputs, n_crashes=len(crashes))
        write_csv(options.out.with_suffix(".csv"), rows)
        write_json(options.out.with_suffix(".json"), head)
    sys.exit(1 if crashes else 0)


def make_seeds(home: Path) -> None:
    """Writes the seeds, unless ``home`` has them from an earlier call."""
    if (home / "seeds").is_dir():
        return
    code = "import sys; from pathlib import Path; from benchmarks.fuzzing.seeds import write_seeds;"
    subprocess.run(
        [sys.executable, "-c", f"{code} write_seeds(Path(sys.argv[1]))", str(home)], check=True
    )


def share_of(name: str, chosen: list[str], n_inputs: int) -> int:
    """Returns how many inputs a target gets; together they are at least ``n_inputs``."""
    shares = sum(TARGETS[other].share for other in chosen)
    return -int(-n_inputs * TARGETS[name].share // shares)


def run(name: str, first: int, count: int, seed: int, home: Path) -> list[dict[str, Any]]:
    """Returns what became of each input of a target; a process that dies is started again."""
    told: list[dict[str, Any]] = []
    at = first
    while at < first + count:
        out = home / "work" / name
        out.mkdir(parents=True, exist_ok=True)
        given = {"first": at, "count": first + count - at, "seed": seed, "seeds": home, "out": out}
        words = [name, *(word for key, value in given.items() for word in (f"--{key}", str(value)))]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fuzzing.worker", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=_HUNG_S + 2 * LIMIT_S * count)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        told += [json.loads(line) for line in stdout.splitlines() if line.endswith("}")]
        at = first + len(told)
        if process.returncode:
            end = stderr.strip().splitlines()[-1:] or [""]
            error = f"the process ended with {process.returncode}: {end[0]}"
            told.append(
                {"number": at, "outcome": "crashed", "error": error, "where": stderr[-3000:]}
            )
            at += 1
        shutil.rmtree(out, ignore_errors=True)
    return told


def row_of(name: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a target's line of the result."""
    outcomes = Counter(one["outcome"] for one in told)
    errors = Counter(one["error"] for one in told if one["outcome"] == "refused")
    return {
        "target": name,
        "inputs": len(told),
        "accepted": outcomes["accepted"],
        "refused": outcomes["refused"],
        "crashed": outcomes["crashed"],
        "max_cpu_s": max((one.get("cpu_s", 0.0) for one in told), default=0.0),
        "cpu_s": round(sum(one.get("cpu_s", 0.0) for one in told), 1),
        "max_grown_mb": round(max((one.get("grown_bytes", 0) for one in told), default=0) / 1e6),
        "refused_as": " ".join(f"{error}:{n}" for error, n in sorted(errors.items())),
    }


def keep(folder: Path, crashes: list[dict[str, Any]]) -> None:
    """Writes each crash with what makes its input again: ``--again TARGET:NUMBER``."""
    for crash in crashes:
        write_json(folder / f"{crash['target']}-{crash['number']}.json", crash)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="in all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), help="default: all")
    parser.add_argument("--home", type=Path, help="folder with seeds of an earlier run")
    parser.add_argument("--keep", type=Path, help="folder for crashes")
    parser.add_argument("--again", metavar="TARGET:NUMBER", help="feed one input and print it")
    parser.add_argument("--out", type=Path, default=RESULTS / f"fuzz-{hardware()}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
