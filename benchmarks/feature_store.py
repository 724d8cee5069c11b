"""What reading the feature store costs: speed against a memory copy, and resident memory.

speed    by turns, from a store that lies in the page cache and from a tensor in memory: bytes in
         order, batches in order as float32, random rows as float32. The store is read as a mapped
         file (where it fits its bound) and row by row (where it does not).
memory   a process of its own trains a linear head for 3 epochs over a store four times its
         budget; its resident memory above what the imports took is sampled. The contrast is the
         same with the file mapped.

python benchmarks/feature_store.py                         # a quiet machine, 2 minutes
python benchmarks/feature_store.py --pairs 3 --megabytes 64 --out store.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from machine import RESULTS, hardware, idle_load, metadata, write_csv, write_json

from energytune.training.feature_entry import StoredFeatures
from energytune.training.features import Features, TensorFeatures
from energytune.training.features_mapped import MappedFeatures

ITEMS = {"D=512": (512,), "D=2048": (2048,), "256x14x14": (256, 14, 14)}
BLOCK_BYTES = 4 * 10**6
N_CLASSES = 10
WAYS = ("mapped", "read")
CPU = torch.device("cpu")
MB = 10**6


def main() -> None:
    """Runs both parts, writes the rows and the summary, and prints the summary."""
    options = parse()
    if options.child:
        print(json.dumps(child(options)))
        return
    torch.set_num_threads(1)
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    with tempfile.TemporaryDirectory(prefix="feature_store-", dir=options.folder) as scratch:
        speed = [row for name in ITEMS for row in speeds(name, options, Path(scratch))]
        memory = [memories(name, options, Path(scratch)) for name in options.items]
    rows = speed + [row for pair in memory for row in pair]
    summary = summarise(rows)
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "folder", "child")}
    head = metadata(settings=settings, cpus_busy_before=round(load_before, 2))
    write_csv(options.out.with_suffix(".csv"), rows)
    write_json(options.out, {**head, "summary": summary, "rows": rows})
    for name, value in summary.items():
        print(f"{name}: {value}")
    print(f"\n{options.out}\n{options.out.with_suffix('.csv')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=15, help="repetitions of each measurement")
    parser.add_argument("--megabytes", type=int, default=256, help="size of the store")
    parser.add_argument("--budget", type=int, help="megabytes; default: a quarter of the store")
    parser.add_argument("--items", nargs="+", choices=ITEMS, default=list(ITEMS))
    parser.add_argument("--folder", type=Path, help="where the store is written; default: temp")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.budget = options.budget or options.megabytes // 4
    options.out = options.out or RESULTS / f"feature_store-{hardware()}.json"
    return options


def write_store(path: Path, item: Sequence[int], megabytes: int) -> StoredFeatures:
    """Writes random features in float16, piece by piece."""
    n_samples = megabytes * MB // (2 * int(np.prod(item)))
    shape = (1, n_samples, *item)
    array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    for start in range(0, n_samples, 1024):
        rows = array[0, start : start + 1024]
        rows[...] = rng.standard_normal(rows.shape, np.float32)
    array.flush()
    return StoredFeatures(path, shape, np.dtype("<f2"), array.offset)


# speed


def speeds(name: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Times the store against memory, on rows of one size."""
    stored = write_store(folder / "speed.npy", ITEMS[name], options.megabytes)
    in_memory = np.fromfile(stored.path, np.float16, offset=stored.offset)
    whole = TensorFeatures(torch.from_numpy(in_memory.reshape(stored.shape[1:])))
    order = torch.randperm(stored.shape[1], generator=torch.Generator().manual_seed(0))
    rows = []
    for how in WAYS:
        features = MappedFeatures(stored, resident_bytes=resident(how, options), device=CPU)
        raw = raw_reader(stored, how)
        contests: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "bytes in order": (raw, partial(copy_blocks, in_memory)),
            "batches in order": (partial(in_order, features), partial(in_order, whole)),
            "random rows": (partial(gather, features, order), partial(gather, whole, order)),
        }
        for what, (store, memory) in contests.items():
            times = paired(store, memory, stored.n_bytes, options.pairs)
            rows.append({"part": what, "item": name, "file": how} | times)
    stored.path.unlink()
    return rows


def resident(how: str, options: argparse.Namespace) -> int:
    """Returns the bound that makes the file mapped, or read."""
    # A quarter, as the package does: train and valid, and the features of two cuts, share it.
    return 10**12 if how == "mapped" else options.budget * MB // 4


def raw_reader(stored: StoredFeatures, how: str) -> Callable[[], None]:
    """Returns what passes over all bytes of the file, block by block into one place."""
    if how == "mapped":
        return partial(copy_blocks, np.memmap(stored.path, np.float16, "r", offset=stored.offset))
    block = bytearray(BLOCK_BYTES)

    def read() -> None:
        with stored.path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass

    return read


def copy_blocks(source: np.ndarray) -> None:
    """Copies everything, a block at a time, into one place."""
    scratch = np.empty(BLOCK_BYTES // source.itemsize, source.dtype)
    for start in range(0, len(source), len(scratch)):
        part = source[start : start + len(scratch)]
        scratch[: len(part)] = part


def in_order(features: Features) -> None:
    """Reads all batches of about 1 MB."""
    for _ in features.batches(batch_rows(features)):
        pass


def gather(features: Features, order: torch.Tensor) -> None:
    """Takes every sample once, in random order, about 1 MB at a time."""
    for indices in torch.split(order, batch_rows(features)):
        features.take(indices)


def batch_rows(features: Features) -> int:
    """Returns how many samples are about 1 MB in float16."""
    return max(1, MB // (2 * features.shape[1:].numel()))


def paired(
    store: Callable[[], None], memory: Callable[[], None], n_bytes: int, n_pairs: int
) -> dict[str, Any]:
    """Times two ways to the same bytes, by turns; the share is the median over the pairs."""
    store(), memory()  # warm: page cache, allocator
    times: list[tuple[float, float]] = []
    for pair in range(n_pairs):
        if pair % 2:
            second, first = timed(memory), timed(store)
        else:
            first, second = timed(store), timed(memory)
        times.append((first, second))
    shares = sorted(second / first for first, second in times)
    return {
        "store_gb_s": round(n_bytes / median(first for first, _ in times) / 1e9, 3),
        "memory_gb_s": round(n_bytes / median(second for _, second in times) / 1e9, 3),
        "share": round(median(shares), 3),
        "share_lowest": round(shares[0], 3),
        "share_highest": round(shares[-1], 3),
        "n_pairs": n_pairs,
    }


def timed(run: Callable[[], None]) -> float:
    """Returns wall-clock seconds."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


# memory


def memories(name: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Trains over a store four times the budget, in a process of its own, in both ways."""
    stored = write_store(folder / "memory.npy", ITEMS[name], options.megabytes)
    rows = []
    for how in WAYS:
        command = [sys.executable, __file__, "--budget", str(options.budget), "--items", name]
        command += ["--child", str(stored.path), how, str(stored.offset)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(
            {"part": "training memory", "item": name, "file": how} | json.loads(done.stdout)
        )
    stored.path.unlink()
    return rows


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Trains a linear head for 3 epochs and returns its peak of resident memory."""
    torch.set_num_threads(1)
    path, how, offset = options.child
    shape = np.load(path, mmap_mode="r").shape
    stored = StoredFeatures(Path(path), shape, np.dtype("<f2"), int(offset))
    train(TensorFeatures(torch.randn(64, *shape[2:])), n_epochs=1)  # loads what is loaded lazily
    features = MappedFeatures(stored, resident_bytes=resident(how, options), device=CPU)
    before = resident_bytes()
    peak, over = [before], threading.Event()

    def sample() -> None:
        while not over.wait(0.002):
            peak.append(resident_bytes())

    sampler = threading.Thread(target=sample)
    sampler.start()
    seconds = timed(lambda: train(features, n_epochs=3))
    over.set()
    sampler.join()
    return {
        "store_mb": round(stored.n_bytes / MB, 1),
        "budget_mb": options.budget,
        "peak_mb": round((max(peak) - before) / MB, 1),
        "n_samples_of_memory": len(peak),
        "seconds": round(seconds, 2),
    }


def train(features: Features, n_epochs: int) -> None:
    """Trains one linear head with SGD, 32 samples a step, plain torch."""
    n_samples, n_inputs = features.shape[0], features.shape[1:].numel()
    targets = torch.arange(n_samples) % N_CLASSES
    head = torch.nn.Linear(n_inputs, N_CLASSES)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(n_epochs):
        order = torch.randperm(n_samples, generator=torch.Generator().manual_seed(epoch))
        for indices in torch.split(order, 32):
            logits = head(features.take(indices).flatten(1))
            loss = torch.nn.functional.cross_entropy(logits, targets[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def resident_bytes() -> int:
    """Returns what this process has resident: its own memory and the pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(x.split()[1]) * 1024 for x in lines if x.startswith(("RssAnon", "RssFile")))


# results


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the shares of a memory copy's speed, and the peaks against the budget."""
    summary: dict[str, Any] = {}
    for row in rows:
        name = f"{row['part']}, {row['item']}, file {row['file']}"
        if "share" in row:
            summary[name] = f"{100 * row['share']:.0f} % of memory, {row['store_gb_s']} GB/s"
        else:
            summary[name] = (
                f"peak {row['peak_mb']} MB, budget {row['budget_mb']} MB, "
                f"store {row['store_mb']} MB, {row['seconds']} s"
            )
    return summary


if __name__ == "__main__":
    main()
