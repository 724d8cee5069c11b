"""The backbone of a bench: which weights, which size of inputs, vectors or maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.data import get_dataset
from energytune.errors import ConfigError
from energytune.models import EMBEDDED_BACKBONES, Backbone, create_backbone
from energytune.models.checkpoint_file import read_metadata
from energytune.progress import Progress
from energytune.training.pretrain import pretrain_embedded

if TYPE_CHECKING:
    from energytune.trial.bench_spec import BenchSpec

__all__ = ["named_backbone", "needs_download"]


def needs_download(spec: BenchSpec) -> bool:
    """Returns whether the backbone's weights come from the network, or from its cache."""
    return (
        isinstance(spec.backbone, str)
        and spec.backbone not in EMBEDDED_BACKBONES
        and spec.checkpoint is None
        and spec.weights == "default"
    )


def named_backbone(spec: BenchSpec, name: str, progress: Progress) -> Backbone:
    """Returns the backbone of that name; one of the package is pretrained on first use.

    Args:
        spec: Of the bench.
        name: ``spec.backbone``.
        progress: Told of pretraining.

    Raises:
        EnergyTuneError: Whatever is wrong with the name or the weights.
    """
    checkpoint = spec.checkpoint
    if name in EMBEDDED_BACKBONES and checkpoint is None and spec.weights == "default":
        checkpoint = pretrain_embedded(
            spec.dataset, name, spec.cache, progress, sharing=spec.sharing
        )
    return create_backbone(
        name,
        weights=spec.weights,
        checkpoint=checkpoint,
        checkpoint_prefix=spec.checkpoint_prefix,
        input_shape=_input_shape(spec, name),
        spatial=spec.user_data is None and get_dataset(spec.dataset).kind == "pixels",
    )


def _input_shape(spec: BenchSpec, name: str) -> tuple[int, int, int] | None:
    """Returns the shape of images that is asked for; None is the network's own."""
    if name in EMBEDDED_BACKBONES:
        if spec.image_size is not None:
            raise ConfigError(
                f"image_size is for networks of timm and torchvision; {name!r} has inputs of its "
                "own. Leave --image-size out."
            )
        return None
    side = spec.image_size
    if side is None and spec.user_data is None:
        side = get_dataset(spec.dataset).image_size
    if side is None:
        side = _pretrained_size(spec)
    return None if side is None else (3, side, side)


def _pretrained_size(spec: BenchSpec) -> int | None:
    """Returns the size that the weights were pretrained at, if their file says so."""
    if spec.checkpoint is None:
        return None
    size = read_metadata(spec.checkpoint).get("image_size", "")
    return int(size) if size.isdecimal() and int(size) > 0 else None
