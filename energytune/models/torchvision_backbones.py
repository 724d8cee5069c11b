"""Backbones from torchvision: ``torchvision/NAME``, or ``torchvision/NAME.WEIGHTS``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from energytune.config import InputConfig
from energytune.errors import ConfigError, MissingDataError, unknown_name
from energytune.models.block_tables import torchvision_family
from energytune.models.reach import WAYS_OUT, unreachable

__all__ = [
    "PREFIX",
    "build_torchvision",
    "load_torchvision",
    "torchvision_input",
    "torchvision_names",
    "without_auxiliary_heads",
]

PREFIX = "torchvision/"
"""What stands before the names, as timm has models of the same names."""

_CLASSIFIERS = {
    "alexnet": "classifier.6",
    "convnext": "classifier.2",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "googlenet": "fc",
    "inception": "fc",
    "maxvit": "classifier.5",
    "mnasnet": "classifier.1",
    "mobilenetv2": "classifier.1",
    "mobilenetv3": "classifier.3",
    "regnet": "fc",
    "resnet": "fc",
    "shufflenetv2": "fc",
    "squeezenet": "classifier.1",
    "swin_transformer": "head",
    "vgg": "classifier.6",
    "vision_transformer": "heads.head",
}
"""The layer that gives logits, by module of ``torchvision.models``; it is taken out."""
_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")


@cache
def torchvision_names() -> frozenset[str]:
    """Returns all names of classifiers: architectures, and architectures with their weights."""
    import torchvision

    names = set()
    for architecture in torchvision.models.list_models(module=torchvision.models):
        names.add(PREFIX + architecture)
        for weights in torchvision.models.get_model_weights(architecture):
            names.add(f"{PREFIX}{architecture}.{weights.name}")
    return frozenset(names)


def torchvision_input(
    name: str, input_shape: tuple[int, ...] | None, others: frozenset[str]
) -> InputConfig:
    """Returns what the weights of a model expect of images, at ``input_shape`` if that is given.

    Args:
        name: With the prefix; with or without the name of its weights.
        input_shape: Channels, height, width in pixels, if they are others.
        others: Names of backbones that are not torchvision's, to be shown if there is no such name.

    Raises:
        UnknownNameError: If there is no such model.
        ConfigError: If ``input_shape`` is not that of an image of 3 channels.
    """
    if name not in torchvision_names():
        hint = "`energytune backbones PATTERN` lists them."
        raise unknown_name("backbone", name, others | torchvision_names(), hint)
    if input_shape is not None and (len(input_shape) != 3 or input_shape[0] != 3):
        raise ConfigError(
            f"Backbone {name!r} takes colour images: input_shape must be (3, height, width), got "
            f"{input_shape}. timm's models take other numbers of channels."
        )
    preset = _weights(name).transforms()
    side, resized = preset.crop_size[0], preset.resize_size[0]
    height, width = (side, side) if input_shape is None else input_shape[1:]
    return InputConfig(
        size=(3, height, width),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
        crop_pct=min(side / resized, 1.0),
    )


def build_torchvision(name: str, size: tuple[int, int, int]) -> nn.Module:
    """Returns the architecture without its classifier, random weights from the global generator.

    Raises:
        ConfigError: If the architecture can't be built for that size of images.
    """
    import torchvision

    architecture = _architecture(name)
    family = torchvision.models.get_model_builder(architecture).__module__.rpartition(".")[2]
    options = _options(family, size)
    if family in ("googlenet", "inception"):
        options["init_weights"] = True
    try:
        module = torchvision.models.get_model(architecture, weights=None, **options)
    except (AssertionError, RuntimeError, ValueError, TypeError) as failure:
        raise ConfigError(
            f"Backbone {name!r} can't be built for images of {size[1]} x {size[2]}: {failure}"
        ) from failure
    return _without_classifier(module)


def load_torchvision(name: str, size: tuple[int, int, int]) -> nn.Module:
    """Returns the model with its pretrained weights, from the local cache or downloaded.

    Without a network this fails within seconds instead of retrying. The file is read without
    running code that it may carry.

    Raises:
        MissingDataError: If they can't be downloaded or read.
    """
    import torchvision

    weights, architecture = _weights(name), _architecture(name)
    address = urlsplit(weights.url)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(address.path).name
    if not file.is_file() and (reason := unreachable(weights.url)):
        raise MissingDataError(
            f"The weights of backbone {name!r} are not on this machine, and {address.hostname} "
            f"can't be reached ({reason}). {WAYS_OUT}"
        )
    family = torchvision.models.get_model_builder(architecture).__module__.rpartition(".")[2]
    try:
        # torchvision itself reads the same file again, with renamed layers, but would unpickle it
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        module = torchvision.models.get_model(
            architecture, weights=weights, progress=False, **_options(family, size)
        )
    except Exception as failure:  # sockets, hashes, pickles and shapes, each with errors of its own
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        raise MissingDataError(
            f"The weights of backbone {name!r} could not be loaded from {file} or downloaded: "
            f"{reason}. {WAYS_OUT}"
        ) from failure
    return _without_classifier(module)


def without_auxiliary_heads(module: nn.Module) -> nn.Module:
    """Takes out the auxiliary classifiers of GoogLeNet and Inception, in place.

    With them the network returns a tuple when it trains. Any other module stays as it is.
    """
    if torchvision_family(module) in ("googlenet", "inception"):
        module.aux_logits = False  # type: ignore[assignment]
        for path in _AUXILIARY_HEADS:
            if getattr(module, path, None) is not None:
                setattr(module, path, None)
    return module


def _without_classifier(module: nn.Module) -> nn.Module:
    module.set_submodule(_CLASSIFIERS[str(torchvision_family(module))], nn.Identity())
    return without_auxiliary_heads(module)


def _architecture(name: str) -> str:
    return name.removeprefix(PREFIX).partition(".")[0]


def _weights(name: str) -> Any:
    """Returns the member of torchvision's enumeration of weights, its default without a tag."""
    import torchvision

    known = torchvision.models.get_model_weights(_architecture(name))
    tag = name.partition(".")[2]
    return known[tag] if tag else known.DEFAULT


def _options(family: str, size: tuple[int, int, int]) -> dict[str, Any]:
    """Returns the options that give the same forward pass with weights and without."""
    if family == "vision_transformer":
        return {"image_size": size[1]}
    if family == "maxvit":
        return {"input_size": size[1:]}
    return {"transform_input": True} if family in ("googlenet", "inception") else {}
