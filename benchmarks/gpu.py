"""What a GPU is used for: training a ResNet50, and several small trials side by side.

train    ResNet50 on random images of 224 x 224 pixels that lie on the GPU: the package's epochs
         against a bare loop of torch (autocast, channels last, fused SGD) on the same batches, by
         turns, for each setting of the engine. The rate of a large matrix product in the same
         precision, measured in the same run, is the peak.
trials   1, 2, 4 and 8 processes on one GPU, each running trials of the digits at once.

python benchmarks/gpu.py                         # a GPU that does nothing else, 15 minutes
python benchmarks/gpu.py --parts train --engines bf16 --pairs 5
python benchmarks/gpu.py --device cpu --smoke    # does it run at all: no result
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from machine import RESULTS, metadata, write_csv, write_json
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from energytune.config import EngineConfig, FinetuneConfig, ProbeConfig, Recipe
from energytune.data import TensorSplit
from energytune.models import TaskModel, build_model, create_backbone
from energytune.tasks import Multiclass
from energytune.training.engine import autocast, laid_out
from energytune.training.micro_batch import MicroBatch
from energytune.training.pretrain import pretrain_embedded
from energytune.training.sgd import Sgd
from energytune.training.train_epoch import Course, EpochTrainer
from energytune.trial import Job
from energytune.trial.bench import BenchSpec
from energytune.trial.run import make_run_job

ENGINES = {
    "fp32": EngineConfig(),
    "bf16": EngineConfig(precision="bf16"),
    "bf16-channels-last": EngineConfig(precision="bf16", channels_last=True),
    "bf16-channels-last-compile": EngineConfig(precision="bf16", channels_last=True, compile=True),
}
N_CLASSES = 10


def main() -> None:
    """Runs the parts, writes rows and summary, and prints the summary."""
    options = parse()
    if options.child:
        child(Path(options.child), options)
        return
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "There is no GPU that torch can use: `energytune doctor` says what it sees. "
            "`--device cpu --smoke` only checks that this benchmark runs."
        )
    if device.type == "cpu" and not options.smoke:
        raise SystemExit("On a CPU there is nothing to measure here. Add --smoke to run it anyway.")
    rows: list[dict[str, Any]] = []
    if "train" in options.parts:
        peaks = {name: gemm_tflops(ENGINES[name], device, options) for name in options.engines}
        rows += [train_row(name, peaks[name], device, options) for name in options.engines]
    if "trials" in options.parts:
        rows += [trials_row(n_trials, options) for n_trials in options.together]
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    if options.smoke:
        print("\nA smoke run: these numbers are no result, and none is written.")
        return
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "child")}
    gpu = torch.cuda.get_device_name()
    out = options.out or RESULTS / f"gpu-{gpu.lower().replace(' ', '-')}.json"
    write_csv(out.with_suffix(".csv"), rows)
    write_json(out, {**metadata(settings=settings, gpu=gpu, cuda=torch.version.cuda), "rows": rows})
    print(f"\n{out}\n{out.with_suffix('.csv')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run? No result")
    parser.add_argument("--parts", nargs="+", choices=("train", "trials"), default=None)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=None)
    parser.add_argument("--pairs", type=int, help="turns of each contender; default 9")
    parser.add_argument("--batch", type=int, help="images a batch; default 128")
    parser.add_argument("--images", type=int, help="images an epoch; default 2048")
    parser.add_argument("--size", type=int, help="side in pixels; default 224")
    parser.add_argument("--together", type=int, nargs="+", help="trials a GPU; default 1 2 4 8")
    parser.add_argument("--jobs", type=int, help="trials that each process runs; default 10")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    whole = {"pairs": 9, "batch": 128, "images": 2048, "size": 224, "jobs": 10, "gemm": 8192}
    tiny = {"pairs": 1, "batch": 4, "images": 8, "size": 32, "jobs": 1, "gemm": 256}
    for name, value in (tiny if options.smoke else whole).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    options.together = options.together or ([1, 2] if options.smoke else [1, 2, 4, 8])
    options.parts = options.parts or ["train", "trials"]
    options.engines = options.engines or (["fp32", "bf16"] if options.smoke else list(ENGINES))
    return options


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds until the device has done what ``run`` asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - began


def gemm_tflops(engine: EngineConfig, device: torch.device, options: argparse.Namespace) -> float:
    """Returns the rate of a large matrix product in the engine's precision."""
    dtype = torch.bfloat16 if engine.precision == "bf16" else torch.float32
    n = options.gemm
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    return max(2 * n**3 / timed(lambda: a @ b, device) / 1e12 for _ in range(10))


# training


def train_row(
    name: str, peak: float, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Times epochs of the package and of the bare loop by turns."""
    engine = ENGINES[name]
    split = random_images(options)
    flops = flops_an_image(fresh_model(options, device), options, device)
    ours = our_epochs(fresh_model(options, device), split, engine, device, options)
    bare = bare_epochs(fresh_model(options, device), split, engine, device, options)
    ours(), bare()  # warm: kernels chosen, code compiled, memory there
    rates: list[tuple[float, float]] = []
    for pair in range(options.pairs):
        first, second = (ours, bare) if pair % 2 == 0 else (bare, ours)
        took = timed(first, device), timed(second, device)
        mine, theirs = took if pair % 2 == 0 else took[::-1]
        rates.append((options.images / mine, options.images / theirs))
    shares = sorted(mine / theirs for mine, theirs in rates)
    images_s = median(mine for mine, _ in rates)
    return {
        "part": "train",
        "engine": name,
        "images_s": round(images_s, 1),
        "bare_images_s": round(median(theirs for _, theirs in rates), 1),
        "share_of_bare": round(median(shares), 3),
        "share_lowest": round(shares[0], 3),
        "share_highest": round(shares[-1], 3),
        "tflops": round(images_s * flops / 1e12, 2),
        "gemm_tflops": round(peak, 2),
        "share_of_gemm": round(images_s * flops / 1e12 / peak, 3),
        "n_pairs": options.pairs,
    }


def random_images(options: argparse.Namespace) -> TensorSplit:
    """Returns noise with labels; what is learnt does not matter here."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.images, 3, options.size, options.size)
    return TensorSplit(
        torch.randn(shape, generator=generator), torch.arange(options.images) % N_CLASSES
    )


def fresh_model(options: argparse.Namespace, device: torch.device) -> TaskModel:
    """Returns a ResNet50 of random weights with a linear head."""
    shape = (3, options.size, options.size)
    backbone = create_backbone("resnet50", weights="none", input_shape=shape)
    return build_model(
        backbone, head_arch="linear", n_outputs=N_CLASSES, reinit_depth=0, seed=0
    ).to(device)


def flops_an_image(model: TaskModel, options: argparse.Namespace, device: torch.device) -> float:
    """Returns the operations of forward and backward pass, counted by torch."""
    images = torch.randn(2, 3, options.size, options.size, device=device)
    with FlopCounterMode(display=False) as counter:
        model.train()(images).sum().backward()
    return counter.get_total_flops() / 2


def our_epochs(
    model: TaskModel,
    split: TensorSplit,
    engine: EngineConfig,
    device: torch.device,
    options: argparse.Namespace,
) -> Callable[[], object]:
    """Returns what trains one epoch as the package does."""
    config = FinetuneConfig(epochs=1000, batch_size=options.batch, schedule="constant")
    laid_out(model, engine)
    optimizer = Sgd(list(model.named_parameters()), momentum=0.9, weight_decay=0.0)
    micro = MicroBatch({"benchmark": "gpu"}, options.batch)
    course = Course(config, 0.001, 0, 0.0, engine)
    trainer = EpochTrainer(model, Multiclass(N_CLASSES), course, optimizer, micro, device)
    epochs = iter(range(1, 10**6))
    return lambda: trainer.run(split, next(epochs)).result()


def bare_epochs(
    model: TaskModel,
    split: TensorSplit,
    engine: EngineConfig,
    device: torch.device,
    options: argparse.Namespace,
) -> Callable[[], object]:
    """Returns what trains one epoch in a loop that one would write for the purpose."""
    layout = torch.channels_last if engine.channels_last else torch.contiguous_format
    network: Any = nn.Sequential(model.backbone, model.head).to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, fused=True)
    if engine.compile:
        network = torch.compile(network, dynamic=False)
    images, targets = split.images.to(device), split.targets.to(device)

    def epoch() -> float:
        total = torch.zeros((), device=device)
        for batch in torch.randperm(len(images), device=device).split(options.batch):
            inputs = images[batch].contiguous(memory_format=layout)
            with autocast(engine, device):
                loss = nn.functional.cross_entropy(network(inputs), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    network.train()
    return epoch


# trials side by side


def trials_row(n_trials: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs as many processes at once, and times them from a common start."""
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        command = [sys.executable, __file__, "--child", scratch, "--device", options.device]
        command += ["--jobs", str(options.jobs)] + (["--smoke"] if options.smoke else [])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children = [subprocess.Popen(command, **pipes) for _ in range(n_trials)]
        for process in children:
            process.stdout.readline()  # ready: data, backbone, features and kernels are there
        began = perf_counter()
        for process in children:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for process in children]
        wall_s = perf_counter() - began
        for process in children:
            process.communicate()
    n_jobs = n_trials * options.jobs
    return {
        "part": "trials",
        "n_together": n_trials,
        "trials_min": round(60 * n_jobs / wall_s, 1),
        "one_takes_s": round(median(t["seconds"] for t in told) / options.jobs, 3),
        "peak_mb": max(t["peak_mb"] for t in told),
        "n_jobs": n_jobs,
    }


def child(folder: Path, options: argparse.Namespace) -> None:
    """Runs trials of the digits, one after the other; the first is not timed."""
    cuda = options.device == "cuda"
    spec = BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        checkpoint=pretrain_embedded("digits", "digits-mlp", folder),
        probe=ProbeConfig(),
        finetune=FinetuneConfig(epochs=2 if options.smoke else 50, patience=None),
        cache=folder / str(os.getpid()),  # each probes by itself
        model_dir=folder / "models",
        use_gpu=cuda,
    )
    run_job = make_run_job(spec)
    run_jobs(run_job, range(1))
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = timed(
        lambda: run_jobs(run_job, range(1, options.jobs + 1)), torch.device(options.device)
    )
    peak = torch.cuda.max_memory_reserved() / 1e6 if cuda else 0.0
    print(json.dumps({"seconds": seconds, "peak_mb": round(peak, 1)}), flush=True)


def run_jobs(run_job: Callable[[Job], Any], numbers: range) -> None:
    """Runs trials to their end."""
    for number in numbers:
        recipe = Recipe(tau=16, ft_lr=0.01)
        for _event in run_job(Job(f"t{number:03d}", number, recipe, seed=number)):
            pass


if __name__ == "__main__":
    main()
