"""The script a user would write today: Ray Tune, OptunaSearch, ASHA and Ray's MLflow callback.

Same task, space and epochs as ``energytune search --dataset digits``. Of energytune it takes the
data, the network and the pretrained weights; all else is library code. Each trial probes its
head from scratch.

    python benchmarks/peers/ray_optuna_asha.py --variant a     # library defaults, MLflow on
    python benchmarks/peers/ray_optuna_asha.py --variant b     # tuned by hand, no tracking

The last line on stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import tempfile
from pathlib import Path
from time import perf_counter

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from safetensors.torch import load_file
from torch import nn

N_CLASSES = 10


def trainable(config: dict) -> None:
    """One trial: probe the head for tau epochs, then finetune everything."""
    from energytune.data import load_dataset
    from energytune.models import EmbeddedMLP

    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    splits = load_dataset("digits")
    images, targets = splits.train.images, splits.train.targets
    valid_images, valid_targets = splits.valid.images, splits.valid.targets

    backbone = EmbeddedMLP()
    backbone.load_state_dict(load_file(config["weights"]))
    n_prefix = len(backbone.blocks) - config["reinit_depth"]
    prefix, tail = backbone.blocks[:n_prefix], nn.Sequential(*backbone.blocks[n_prefix:])
    for block in tail:
        block.reset_parameters()
    if config["head_arch"] == "linear":
        head = nn.Linear(128, N_CLASSES)
    else:
        head = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, N_CLASSES))

    # head probing on frozen features
    with torch.no_grad():
        features = nn.Sequential(*prefix)(images)
    probed = nn.Sequential(tail, head)
    loss_of = nn.CrossEntropyLoss(label_smoothing=config["label_smoothing"])
    optimizer = torch.optim.SGD(probed.parameters(), lr=0.03, momentum=0.9)
    for _ in range(config["tau_plus_1"] - 1):
        for batch in torch.randperm(len(targets)).split(32):
            optimizer.zero_grad()
            loss_of(probed(features[batch]), targets[batch]).backward()
            optimizer.step()

    # finetuning
    model = nn.Sequential(*prefix, tail, head)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=config["ft_lr"], momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=config["ft_epochs"] * math.ceil(len(targets) / 32)
    )
    best_acc, best_state = -1.0, None
    for epoch in range(1, config["ft_epochs"] + 1):
        model.train()
        for batch in torch.randperm(len(targets)).split(32):
            optimizer.zero_grad()
            loss_of(model(images[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            hits = model(valid_images).argmax(1) == valid_targets
        valid_acc = hits.float().mean().item()
        if valid_acc > best_acc:
            best_acc, best_state = valid_acc, copy.deepcopy(model.state_dict())
        tune.report({"valid_acc": valid_acc, "epoch": epoch})
    del best_state  # a real script would save it


def main() -> None:
    options = parse()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # its thread fails without a network
    started = perf_counter()
    from energytune.paths import cache_dir
    from energytune.training.pretrain import pretrain_embedded

    weights = pretrain_embedded("digits", "digits-mlp", cache_dir())
    pretrained_s = perf_counter() - started
    folder = Path(tempfile.mkdtemp(prefix="ray_optuna_asha-"))
    space = {
        "tau_plus_1": tune.lograndint(1, 4098),  # 0..4096; the upper bound is exclusive
        "head_arch": tune.choice(["linear", "mlp"]),
        "label_smoothing": tune.uniform(0.0, 0.3),
        "reinit_depth": tune.randint(0, 3),
        "ft_lr": tune.loguniform(0.002, 0.05),
        "ft_epochs": options.ft_epochs,
        "seed": options.seed,
        "weights": str(weights),
    }
    callbacks = []
    if options.variant == "a":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        callbacks.append(
            MLflowLoggerCallback(
                tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="digits"
            )
        )
        scheduler = ASHAScheduler(max_t=options.ft_epochs)
    else:
        scheduler = ASHAScheduler(
            max_t=options.ft_epochs,
            grace_period=min(16, options.ft_epochs),
            reduction_factor=3,
        )
    # "local": never join a cluster that happens to run on this machine
    ray.init(address="local", num_cpus=options.concurrency, log_to_driver=options.variant == "a")
    ready_s = perf_counter() - started
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="valid_acc",
            mode="max",
            num_samples=options.trials,
            max_concurrent_trials=options.concurrency,
            search_alg=OptunaSearch(seed=options.seed),
            scheduler=scheduler,
            **({"reuse_actors": True} if options.variant == "b" else {}),
        ),
        run_config=tune.RunConfig(
            name="digits",
            storage_path=str(folder),
            callbacks=callbacks,
            **({"verbose": 0} if options.variant == "b" else {}),
        ),
    )
    results = tuner.fit()
    searched_s = perf_counter() - started
    best = results.get_best_result(metric="valid_acc", mode="max", scope="all")
    frames = [result.metrics_dataframe for result in results]
    epochs = [0 if frame is None else len(frame) for frame in frames]
    ray.shutdown()
    recipe = {
        "tau": best.config["tau_plus_1"] - 1,
        **{k: best.config[k] for k in ("head_arch", "label_smoothing", "reinit_depth", "ft_lr")},
    }
    document = {
        "variant": options.variant,
        "recipe": recipe,
        "best_valid_acc": float(best.metrics_dataframe["valid_acc"].max()),
        "n_trials": len(epochs),
        "n_errors": results.num_errors,
        "ft_epochs": sum(epochs),
        "seconds": {
            "pretrain": pretrained_s,  # or the look into the cache
            "start": ready_s - pretrained_s,
            "search": searched_s - ready_s,
            "total": perf_counter() - started,
        },
    }
    print(json.dumps(document), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--variant", choices=["a", "b"], default="a")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--ft-epochs", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
