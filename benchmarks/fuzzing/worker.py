"""Feeds one target, in a process of its own with a limit of memory, and counts what comes out.

``python -m benchmarks.fuzzing.worker TARGET --first 0 --count 100 --seed 0 --seeds F --out F``
prints one line of JSON an input: its number, the outcome, seconds, and of a crash what was raised.
The input that is being read lies in ``OUT/current``, so that also one that kills the process is
known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.fuzzing.mutate import mutate_files
from benchmarks.fuzzing.seeds import load_seeds
from benchmarks.fuzzing.targets import TARGETS

LIMIT_S = 20.0
"""CPU seconds that an input may take: a reader that hangs has crashed."""
LIMIT_BYTES = 2 << 30
"""Memory that a reader may take beyond what the libraries have taken."""


class TooSlow(BaseException):
    """No ``Exception``, so that no reader takes it for a damaged file."""


def main() -> None:
    """Feeds the inputs, in order."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    target = TARGETS[options.target]
    seeds = load_seeds(options.seeds, target.seeds or target.name)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with _quiet() as say:
        feed(options.target, seeds[0], options.out / "current")  # a valid one loads the libraries
        limit_memory()
        for number in range(options.first, options.first + options.count):
            files = input_of(options.target, number, options.seed, seeds)
            say({"number": number, **feed(options.target, files, options.out / "current")})


def input_of(
    target: str, number: int, seed: int, seeds: list[dict[str, bytes]]
) -> dict[str, bytes]:
    """Returns the files of an input, the same in every run; a tenth are valid or mixed."""
    rng = random.Random(f"{seed}/{target}/{number}")
    chosen = dict(rng.choice(seeds))
    if rng.random() < 0.05:
        return chosen
    return mutate_files(rng, chosen)


def feed(target: str, files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
    """Returns what became of an input: ``accepted``, ``refused`` or ``crashed``, and why."""
    from energytune.errors import EnergyTuneError

    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resident, started = _resident("VmRSS"), time.process_time()
    told: dict[str, Any] = {"outcome": "accepted"}
    try:
        with _time_limit():
            TARGETS[target].read(folder)
    except EnergyTuneError as error:
        told = {"outcome": "refused", "error": type(error).__name__}
        if len(str(error)) > 20_000:
            told = {"outcome": "crashed", "error": "a message of over 20,000 letters"}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        told = {
            "outcome": "crashed",
            "error": f"{type(error).__name__}: {error}"[:300],
            "where": traceback.format_exc()[-3000:],
        }
    told["cpu_s"] = round(time.process_time() - started, 4)
    told["grown_bytes"] = max(0, _resident("VmHWM") - resident)
    return told


def _resident(which: str) -> int:
    """Returns the resident memory of this process now, or at its peak, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0]) * 1024


def limit_memory() -> None:
    """Lets this process map only so much more."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + LIMIT_BYTES, most))


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"over {LIMIT_S:g} CPU seconds")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Yields what prints a line of JSON; whatever else is printed goes nowhere."""
    with os.fdopen(os.dup(1), "w", buffering=1) as file, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        yield lambda told: file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
