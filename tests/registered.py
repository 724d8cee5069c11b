"""Registered models for tests: real loaders and networks, random weights, no search."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from energytune.config import Recipe
from energytune.data import Splits, load_dataset
from energytune.models import TaskModel, build_model, create_backbone
from energytune.tracking import RegisteredModel, default_uri, register_winner

N_COLOURS = ("blue", "green", "red")


@dataclass(frozen=True)
class Registered:
    """A registered model and what it was made of."""

    model: TaskModel
    splits: Splits
    result: RegisteredModel


@dataclass(frozen=True)
class ModelStore:
    """A store with one registered model of each kind.

    Attributes:
        root: Folder of the store.
        colours: Folder of images, the data of ``models["colours"]``.
        models: ``"digits"``, ``"digit-scenes"``, ``"molecules"`` and ``"colours"``.
    """

    root: Path
    colours: Path
    models: dict[str, Registered]

    @property
    def uri(self) -> str:
        """The tracking URI."""
        return default_uri(self.root)


def make_store(root: Path) -> ModelStore:
    """Makes the store; digits have two versions, the first is champion."""
    colours = write_colours(root / "colour-images")
    models = {
        "digits": register(root, "digits", "digits-mlp", score=0.9),
        "digit-scenes": register(root, "digit-scenes", "scene-resnet"),
        "molecules": register(root, "molecules", "gcn-small"),
        "colours": register(root, f"folder:{colours}", "resnet18", name="colours"),
    }
    register(root, "digits", "digits-mlp", uid="u2", seed=6)
    return ModelStore(root, colours, models)


def png(array: np.ndarray, file_format: str = "PNG") -> bytes:
    """Returns the bytes of an image file of a uint8 array."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, file_format)
    return file.getvalue()


def write_colours(root: Path, n_images: int = 6) -> Path:
    """Writes folders with images of three colours, of several sizes and modes."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for k, name in enumerate(N_COLOURS):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(n_images):
                pixels = rng.integers(0, 120, (40 + 3 * i, 52 - 2 * i, 3), dtype=np.uint8)
                pixels[..., 2 - k] += 130
                suffix, kind = ((".png", "PNG"), (".jpg", "JPEG"), (".bmp", "BMP"))[i % 3]
                (folder / f"{i}{suffix}").write_bytes(png(pixels, kind))
    return root


def register(
    root: Path,
    dataset: str,
    backbone: str,
    *,
    uid: str = "u1",
    seed: int = 5,
    score: float = 0.5,
    head_arch: str = "linear",
    name: str | None = None,
    uri: str | None = None,
) -> Registered:
    """Registers a model with random weights, in the store of ``root`` unless ``uri`` says more."""
    images = not dataset.startswith(("digit", "molecules"))
    source = create_backbone(
        backbone, weights="none", seed=seed, spatial=dataset == "digit-scenes", **_shape(images)
    )
    splits = load_dataset(dataset, input_config=source.input_config if images else None)
    inputs, targets = next(iter(splits.valid.batches(2)))
    model = build_model(
        source,
        head_arch=head_arch,
        n_outputs=splits.task.n_outputs,
        reinit_depth=0,
        seed=seed,
        output_size=tuple(targets.shape[1:]) if splits.task.metric == "miou" else None,
    ).eval()
    _spread(model)
    folder = root / f"{dataset.replace(':', '-').replace('/', '-')}-{uid}"
    folder.mkdir()
    weights = folder / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, weights)
    scored = splits.task.metric == "accuracy"
    result = register_winner(
        uri or default_uri(root),
        name or dataset,
        run_folder=folder,
        weights=weights,
        spec=model.spec(),
        score=score,
        protocol=f"{splits.protocol}; {splits.task.metric}",
        correct=[i < 100 * score for i in range(100)] if scored else (),
        recipe=Recipe(tau=9, ft_lr=0.01),
        run_uid=f"{dataset}-{uid}",
        search_id="s1",
        input_shape=tuple(inputs.shape[1:]),
        class_names=splits.class_names,
        metric=splits.task.metric,
        preprocessing=splits.preprocessing,
    )
    return Registered(model, splits, result)


def _shape(images: bool) -> dict[str, tuple[int, int, int]]:
    return {"input_shape": (3, 32, 32)} if images else {}


def _spread(model: nn.Module) -> None:
    """Makes the head's weights large, so that predictions differ from input to input."""
    for name, tensor in model.named_parameters():
        if name.startswith("head.") and tensor.ndim > 1:
            tensor.data.mul_(4.0 / tensor.data.std().clamp_min(1e-3) / tensor.shape[1] ** 0.5)
