"""``pretrain()``: supervised pretraining of a backbone, from data to a checkpoint."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch

from energytune import __version__
from energytune.config import PretrainSettings, pretrain_settings
from energytune.data import Splits, absolute_name, ensure_dataset, get_dataset, load_dataset
from energytune.errors import ConfigError, OutputError
from energytune.json_text import parse_json
from energytune.models import Backbone, create_backbone
from energytune.models.checkpoint_file import file_sha256, read_metadata
from energytune.progress import NO_PROGRESS, Progress
from energytune.search.probe_map import Device, use_gpu
from energytune.search.track_pretrain import PretrainTracker
from energytune.training import FinetuneEpoch
from energytune.training.pretrain_run import PretrainRun
from energytune.trial.bench_data import check_inputs

__all__ = ["PretrainResult", "pretrain"]

_N_NOTES = 10
_OF_LABELS = {"lr": 0.05, "weight_decay": 0.0, "epochs": 100, "augment": False}
"""Defaults for several yes-or-no labels a sample, as molecules have them."""


@dataclass(frozen=True)
class PretrainResult:
    """A pretrained backbone.

    Attributes:
        path: The checkpoint, safetensors; its header says how it was made.
        sha256: Hex digest of the file.
        metric: What the scores are: ``"accuracy"`` or ``"roc_auc"``.
        best: The best epoch by validation.
        epochs: All epochs, ascending; those before a resume too. Empty if the checkpoint was
            there already.
        n_resumed: Epochs that an earlier run had done.
        kept_epoch: The epoch whose weights were written.
        seconds: Wall-clock seconds of this run.
        link: Address of the MLflow run; empty without one.
    """

    path: Path
    sha256: str
    metric: str
    best: FinetuneEpoch
    epochs: tuple[FinetuneEpoch, ...]
    n_resumed: int
    kept_epoch: int
    seconds: float
    link: str = ""

    def to_json(self) -> str:
        """Returns one JSON document."""
        fields = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc")
        plain: dict[str, Any] = {
            **self.__dict__,
            "path": str(self.path),
            "best": {name: getattr(self.best, name) for name in fields},
            "epochs": [{name: getattr(e, name) for name in fields} for e in self.epochs],
        }
        return json.dumps(plain, indent=1)


def pretrain(
    dataset: str,
    *,
    out: str | Path,
    backbone: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    label_smoothing: float | None = None,
    augment: bool | None = None,
    keep: Literal["best", "last"] | None = None,
    seed: int = 0,
    image_size: int | None = None,
    data_root: str | Path | None = None,
    loader_workers: int | None = None,
    device: Device = "auto",
    track: bool = False,
    tracking_uri: str | None = None,
    home: Path = Path("energytune-runs"),
    progress: Progress = NO_PROGRESS,
) -> PretrainResult:
    """Pretrains a backbone with random weights on a dataset, and writes it as a checkpoint.

    Stopped at any moment it goes on when called again with the same arguments; a checkpoint that
    is complete is left as it is. The test split is not read.

    Args:
        dataset: A dataset's name, of one class or several labels a sample.
        out: The checkpoint, ending in ``.safetensors``.
        backbone: A backbone's name; None takes the dataset's default.
        epochs: Passes over the training split; None is 200, for labels 100.
        lr: Peak learning rate; None is 0.1, for labels 0.05.
        momentum: In [0, 1); None is 0.9.
        weight_decay: L2 penalty; None is 5e-4, for labels 0.
        batch_size: Samples a step; None is 128.
        label_smoothing: In [0, 1); None is 0.
        augment: Whether training images are cropped and flipped at random; None does so.
        keep: ``"best"`` (None) or ``"last"``: whose weights are written.
        seed: Of initialisation, batch order and augmentation.
        image_size: Side of the input images in pixels; None is the backbone's.
        data_root: Folder under which datasets lie.
        loader_workers: Processes that load images; None chooses.
        device: ``"auto"`` takes a GPU where there is one.
        track: Whether the run is logged to MLflow.
        tracking_uri: MLflow server; None is SQLite in ``home``.
        home: Folder of the default MLflow store.
        progress: Told of downloads and epochs.

    Raises:
        EnergyTuneError: Whatever is wrong with settings, data, the device or the output.
    """
    started = perf_counter()
    dataset = absolute_name(dataset)
    entry = get_dataset(dataset)
    if entry.kind == "pixels":
        raise ConfigError(
            f"Dataset {dataset!r} has one target a pixel; pretrain on one of classes or labels."
        )
    path = Path(out).expanduser().absolute()
    if path.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {str(out)!r}.")
    given: dict[str, Any] = {
        "epochs": epochs,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "label_smoothing": label_smoothing,
        "augment": augment,
        "keep": keep,
        "image_size": image_size,
        "data_root": data_root,
    }
    defaults = _OF_LABELS if entry.kind == "labels" else {}
    settings = pretrain_settings(
        dataset=dataset,
        backbone=backbone or entry.backbone.partition(".")[0],
        seed=seed,
        **{**defaults, **{name: value for name, value in given.items() if value is not None}},
    )
    where = torch.device("cuda" if use_gpu(device) else "cpu")
    module, splits = _load(settings, loader_workers, progress)
    identity = {**settings.identity(), "data": splits.fingerprint, "initial": module.weights_sha256}
    if path.exists():
        return _complete(path, identity, splits, perf_counter() - started)
    run = PretrainRun(
        settings,
        splits,
        module,
        state_path=path.with_name(f"{path.name}.state"),
        identity=identity,
        device=where,
    )
    tracker = PretrainTracker.of(
        track, tracking_uri, home, identity, protocol=splits.protocol, progress=progress
    )
    _train(run, settings, splits.task.metric, tracker, progress)
    best = run.best
    if best is None:  # the settings allow no fewer than one epoch
        raise ConfigError("epochs must be at least 1.")
    run.write_weights(path, _metadata(identity, settings, module, splits, best, run.epochs))
    result = PretrainResult(
        path=path,
        sha256=file_sha256(path),
        metric=splits.task.metric,
        best=best,
        epochs=tuple(run.epochs),
        n_resumed=run.n_resumed,
        kept_epoch=_kept(settings, best, run.epochs),
        seconds=round(perf_counter() - started, 3),
    )
    return replace(result, link=tracker.finish(result.sha256, path))


def _train(
    run: PretrainRun,
    settings: PretrainSettings,
    metric: str,
    tracker: PretrainTracker,
    progress: Progress,
) -> None:
    if run.n_resumed:
        progress.note(f"goes on after epoch {run.n_resumed} of {settings.epochs}")
    every = max(1, settings.epochs // _N_NOTES)
    name = f"pretraining {settings.backbone} on {settings.dataset}"
    with progress.stage(name, total=settings.epochs) as advance:
        advance(run.n_resumed)
        for epoch in run:
            advance(1)
            tracker.epoch(epoch)
            if epoch.epoch % every == 0:
                progress.note(
                    f"epoch {epoch.epoch}/{settings.epochs}: train {epoch.train_acc:.4f}, "
                    f"valid {epoch.valid_acc:.4f} ({metric})"
                )


def _load(
    settings: PretrainSettings, loader_workers: int | None, progress: Progress
) -> tuple[Backbone, Splits]:
    ensure_dataset(settings.dataset, settings.data_root, progress=progress)
    side = settings.image_size
    backbone = create_backbone(
        settings.backbone,
        weights="none",
        seed=settings.seed,
        input_shape=None if side is None else (3, side, side),
    )
    splits = load_dataset(
        settings.dataset,
        data_root=settings.data_root,
        input_config=backbone.input_config,
        loader_workers=loader_workers,
        progress=progress,
    )
    check_inputs(backbone, splits)
    return backbone, splits


def _metadata(
    identity: dict[str, Any],
    settings: PretrainSettings,
    backbone: Backbone,
    splits: Splits,
    best: FinetuneEpoch,
    epochs: list[FinetuneEpoch],
) -> dict[str, str]:
    """Returns what the checkpoint's header says of itself."""
    kept = _kept(settings, best, epochs)
    story = {
        **identity,
        "protocol": splits.protocol,
        "metric": splits.task.metric,
        "kept_epoch": kept,
        "valid_score": epochs[kept - 1].valid_acc,
        "best": {name: getattr(best, name) for name in best.__slots__},
        "energytune": __version__,
    }
    found = {"backbone": settings.backbone, "pretraining": json.dumps(story)}
    if backbone.input_config is not None:
        found["image_size"] = str(backbone.input_config.size[1])
    if isinstance(vocabulary := getattr(backbone.module, "vocabulary", None), str):
        found["vocabulary"] = vocabulary
    return found


def _kept(settings: PretrainSettings, best: FinetuneEpoch, epochs: list[FinetuneEpoch]) -> int:
    return best.epoch if settings.keep == "best" else epochs[-1].epoch


def _complete(
    path: Path, identity: dict[str, Any], splits: Splits, seconds: float
) -> PretrainResult:
    """Returns what a checkpoint that is there already says of itself.

    Raises:
        OutputError: If it is something else.
    """
    story: dict[str, Any] = {}
    with suppress(ValueError):
        story = parse_json(read_metadata(path).get("pretraining", "{}"))
    if not isinstance(story, dict) or story != {**story, **identity}:
        raise OutputError(
            f"{path} exists and was not made with these settings. Choose another --out or delete "
            "it."
        )
    return PretrainResult(
        path=path,
        sha256=file_sha256(path),
        metric=splits.task.metric,
        best=FinetuneEpoch(**story["best"]),
        epochs=(),
        n_resumed=int(story["epochs"]),
        kept_epoch=int(story["kept_epoch"]),
        seconds=round(seconds, 3),
    )
