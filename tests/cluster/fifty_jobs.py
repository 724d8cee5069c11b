"""Runs fifty jobs of every kind of end in a worker's loop; prints RSS and global state after each.

A process of its own: what other tests have left in memory would be counted too.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch

from energytune.cluster.worker import ENDED, ERROR, JobWorker, WorkerSettings
from energytune.config import FinetuneConfig, ProbeConfig, Recipe
from energytune.trial import Job
from energytune.trial.bench import BenchSpec
from energytune.trial.run import make_run_job

N_JOBS = 50


def main(folder: Path, backbone: Path, device: str) -> None:
    spec = BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        checkpoint=backbone,
        probe=ProbeConfig(),
        finetune=FinetuneConfig(epochs=2, patience=None),
        cache=folder / "cache",
        model_dir=folder / "models",
        use_gpu=device == "cuda",
    )

    def make() -> object:
        run_job = make_run_job(spec)

        def spoiling(job: Job) -> object:
            """As a user's own network may: it changes what all jobs share, and may fail."""
            for number, event in enumerate(run_job(job)):
                yield event
                if number == 2:
                    torch.set_grad_enabled(job.number % 2 == 0)
                    torch.set_default_dtype(torch.float64)
                    torch.backends.cudnn.benchmark = True
                    torch.set_autocast_enabled("cpu", True)
                    torch.rand(job.number + 1)
                    if job.number % 5 == 4:
                        torch.set_num_threads(2)
                        raise ValueError("the network has had enough")
                    torch.set_default_dtype(torch.float32)
                    torch.set_autocast_enabled("cpu", False)
                    torch.set_grad_enabled(True)

        return spoiling

    worker: JobWorker = object.__new__(JobWorker)
    settings = WorkerSettings(frozenset({1}), 60.0, 1)
    worker.setup({"job": job_of(0)}, make, settings)
    for number in range(N_JOBS):
        worker.reset_config({"job": job_of(number)})
        report = worker.step()
        while not report[ENDED] and number % 5 != 3:  # every fifth is stopped halfway
            report = worker.step()
        worker.cleanup()
        print(json.dumps({"error": report[ERROR], **vars(state())}), flush=True)


def job_of(number: int) -> Job:
    """Jobs 0, 10, 20, ... are the same one."""
    recipe = Recipe(tau=2, head_arch=("linear", "mlp")[number % 2], ft_lr=0.01)
    return Job(f"t{number:03d}", number, recipe, seed=number % 10)


def state() -> SimpleNamespace:
    gc.collect()
    cuda = torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0
    return SimpleNamespace(
        rss_bytes=psutil.Process().memory_info().rss,
        cuda_bytes=cuda,
        dtype=str(torch.get_default_dtype()),
        n_threads=torch.get_num_threads(),
        grad=torch.is_grad_enabled(),
        benchmark=torch.backends.cudnn.benchmark,
        autocast=torch.is_autocast_enabled("cpu"),
        random=float(torch.rand(1, generator=torch.Generator().set_state(torch.get_rng_state()))),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
