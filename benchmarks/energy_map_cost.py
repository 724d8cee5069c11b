"""What an energy map costs against probing with the backbone in the loop.

A ResNet18 with random weights, 1,000 training and 200 validation images of 64 x 64 pixels, 32
linear heads (smoothings x rates), 20 epochs, snapshots at 10 of them. The map runs the backbone
once over train and valid, and all heads in one pass; the other way, each head runs the frozen
backbone forward in every epoch, and once more over train and valid at every snapshot, where
HP-train-accuracy, AIE and HP-valid-accuracy are measured. One such epoch and one such measurement
are timed in every repetition, by turns with the whole map, and counted as often as they occur.

python benchmarks/energy_map_cost.py                       # a quiet machine, 5 minutes
python benchmarks/energy_map_cost.py --images 64 --repeats 1 --out cost.json
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import RESULTS, hardware, idle_load, metadata, write_csv, write_json
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from energytune import probe
from energytune.config import snapshot_epochs
from energytune.models import create_backbone

SMOOTHINGS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
RATES = (0.003, 0.01, 0.03, 0.1)
N_EPOCHS, N_CLASSES, BATCH = 20, 10, 32
SHAPE = (3, 64, 64)


def main() -> None:
    """Times both by turns, writes and prints the result."""
    options = parse()
    torch.set_num_threads(options.threads)
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    train, valid = images(options.images, 0), images(options.images // 5, 1)
    backbone = create_backbone("resnet18", weights="none", input_shape=SHAPE).module
    rows = []
    for repeat in range(options.repeats):
        row: dict[str, Any] = {}
        for name in ("map", "plain") if repeat % 2 == 0 else ("plain", "map"):
            if name == "map":
                row |= energy_map(train, valid, backbone)
            else:
                row["plain_epoch_s"] = plain_epoch(train, backbone)
                row["plain_measurement_s"] = plain_measurement(train, valid, backbone)
        n_heads = len(SMOOTHINGS) * len(RATES)
        training_s = n_heads * N_EPOCHS * row["plain_epoch_s"]
        n_snapshots = len(snapshot_epochs(N_EPOCHS))
        row["plain_s"] = training_s + n_heads * n_snapshots * row["plain_measurement_s"]
        row["ratio"] = row["plain_s"] / row["map_s"]
        row["ratio_without_measuring"] = training_s / row["map_s"]
        rows.append({name: round(value, 4) for name, value in row.items()})
        print(rows[-1], flush=True)
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    ratios = [row["ratio"] for row in rows]
    summary = {
        "map_s": median(row["map_s"] for row in rows),
        "plain_s": median(row["plain_s"] for row in rows),
        "ratio": median(ratios),
        "ratio_least": min(ratios),
        "ratio_without_measuring": median(row["ratio_without_measuring"] for row in rows),
    }
    head = metadata(settings=settings, cpus_busy_before=round(load_before, 2))
    write_csv(options.out.with_suffix(".csv"), rows)
    write_json(options.out, {**head, "summary": summary, "rows": rows})
    print(summary)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"energy_map_cost-{hardware()}.json"
    return options


def images(n_images: int, seed: int) -> TensorDataset:
    """Returns noise of the right shape: what is in the images does not change their cost."""
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(n_images, *SHAPE, generator=generator), torch.arange(n_images) % N_CLASSES
    )


def energy_map(train: TensorDataset, valid: TensorDataset, backbone: nn.Module) -> dict[str, float]:
    """Returns the seconds of a whole map, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ENERGYTUNE_CACHE"] = cache
        started = perf_counter()
        result = probe(
            "noise",
            train=train,
            valid=valid,
            test=valid,
            backbone=backbone,
            heads=["linear"],
            label_smoothings=SMOOTHINGS,
            lrs=RATES,
            depths=[0],
            tau_max=N_EPOCHS,
            batch_size=BATCH,
            device="cpu",
        )
        seconds = perf_counter() - started
    return {"map_s": seconds, "map_probe_s": result.seconds["probe"]}


def plain_epoch(train: TensorDataset, backbone: nn.Module) -> float:
    """Returns the seconds of one epoch of one head with the frozen backbone in the loop."""
    inputs, targets = train.tensors
    head = nn.Linear(512, N_CLASSES)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.03, momentum=0.9)
    backbone.eval()
    started = perf_counter()
    for batch in torch.randperm(len(inputs)).split(BATCH):
        with torch.no_grad():
            features = backbone(inputs[batch])
        loss = cross_entropy(head(features), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return perf_counter() - started


@torch.no_grad()
def plain_measurement(train: TensorDataset, valid: TensorDataset, backbone: nn.Module) -> float:
    """Returns the seconds of one head's logits on train and valid, with the backbone."""
    head = nn.Linear(512, N_CLASSES)
    backbone.eval()
    started = perf_counter()
    for split in (train, valid):
        for inputs in split.tensors[0].split(BATCH):
            head(backbone(inputs)).softmax(dim=1)
    return perf_counter() - started


if __name__ == "__main__":
    main()
