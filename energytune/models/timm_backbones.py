"""Backbones from timm: by name, with their pretrained weights or random ones."""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from torch import nn

from energytune.config import InputConfig
from energytune.errors import ConfigError, MissingDataError, unknown_name
from energytune.models.reach import WAYS_OUT, unreachable

__all__ = ["build_timm", "input_config", "load_timm", "timm_names", "timm_options"]


@cache
def timm_names() -> frozenset[str]:
    """Returns all names: architectures, and architectures with the tag of their weights."""
    import timm

    return frozenset(timm.list_models()) | frozenset(timm.list_pretrained())


def timm_options(
    name: str, input_shape: tuple[int, ...] | None, others: frozenset[str]
) -> dict[str, Any]:
    """Returns timm's options for a backbone of pooled features.

    Args:
        name: ``architecture`` or ``architecture.tag``.
        input_shape: Channels, height, width in pixels, if they differ from the architecture's.
        others: Names of backbones that are not timm's, to be shown when there is no such name.

    Raises:
        UnknownNameError: If there is no such model.
        ConfigError: If ``input_shape`` is not that of an image.
    """
    import timm

    if name not in timm_names():
        hint = "`energytune backbones PATTERN` lists them."
        raise unknown_name("backbone", name, others | timm_names(), hint)
    options: dict[str, Any] = {"num_classes": 0}
    if input_shape is None:
        return options
    if len(input_shape) != 3:
        raise ConfigError(
            f"Backbone {name!r} takes images: input_shape must be (channels, height, width), got "
            f"{input_shape}."
        )
    if input_shape[0] != 3:
        options["in_chans"] = input_shape[0]
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size and config.input_size[1:] != input_shape[1:]:
        options["img_size"] = input_shape[1:]
    return options


def build_timm(name: str, options: dict[str, Any]) -> nn.Module:
    """Returns the architecture with random weights from the global generator.

    Raises:
        ConfigError: If it can't be built with these options, such as an image size.
    """
    import timm

    try:
        module: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (AssertionError, RuntimeError, ValueError, TypeError) as failure:
        raise ConfigError(
            f"Backbone {name!r} can't be built with {options}: {failure}. Use the input size that "
            "it was made for."
        ) from failure
    return module


def load_timm(name: str, options: dict[str, Any]) -> nn.Module:
    """Returns the model with its pretrained weights, from the local cache or downloaded.

    Without a network this fails within seconds instead of retrying.

    Raises:
        MissingDataError: If there are none, or they can't be downloaded.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise MissingDataError(
            f"There are no pretrained weights for backbone {name!r}. Choose a name with a tag "
            f"(`energytune backbones {name.split('.')[0]}`). {WAYS_OUT}"
        )
    overlay = None
    if cached := _cached_file(config):
        overlay = {"file": cached}
    elif reason := _offline(config):
        raise MissingDataError(
            f"The weights of backbone {name!r} are not on this machine, and "
            f"{urlsplit(_source_url(config)).hostname} can't be reached ({reason}). {WAYS_OUT}"
        )
    try:
        module: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
    except Exception as failure:  # two hubs and two formats, each with errors of its own
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        where = f"loaded from {cached}" if cached else "downloaded"
        raise MissingDataError(
            f"The weights of backbone {name!r} could not be {where}: {reason}. {WAYS_OUT}"
        ) from failure
    return module


def input_config(module: nn.Module, input_shape: tuple[int, ...] | None) -> InputConfig:
    """Returns what a timm model expects of images, at ``input_shape`` if that is given."""
    from timm.data.config import resolve_data_config

    config: dict[str, Any] = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
    size = tuple(input_shape or config["input_size"])
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if len(mean) != size[0]:
        mean = (sum(mean) / len(mean),) * size[0]
        std = (sum(std) / len(std),) * size[0]
    return InputConfig(
        size=(size[0], size[1], size[2]),
        mean=mean,
        std=std,
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
    )


def _cached_file(config: Any) -> str | None:
    """Returns the weights' file if it has been downloaded before.

    timm itself asks the hub for news even then, and retries for most of a minute if offline.
    """
    if config.custom_load or not config.hf_hub_id:
        return None
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = config.hf_hub_id.partition("@")
    filenames = ("model.safetensors", "pytorch_model.bin")
    for filename in (config.hf_hub_filename,) if config.hf_hub_filename else filenames:
        found = try_to_load_from_cache(repository, filename, revision=revision or None)
        if isinstance(found, str) and os.path.isfile(found):
            return found
    return None


def _source_url(config: Any) -> str:
    """Returns an address on the server that has the weights."""
    if config.hf_hub_id:
        from huggingface_hub import constants

        return str(constants.ENDPOINT)
    return str(config.url)


def _offline(config: Any) -> str:
    """Returns why the weights can't be asked for, "" if they can."""
    from huggingface_hub import constants

    if config.hf_hub_id and constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return unreachable(_source_url(config))
