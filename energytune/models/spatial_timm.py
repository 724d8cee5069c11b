"""timm's networks as dense feature extractors: a map of features in place of one pooled vector.

With ``output_stride`` timm replaces the strides of the last stages by dilation, as DeepLab does.
That changes no weight: every checkpoint of the ordinary network loads.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from torch import nn

from energytune.errors import ConfigError

__all__ = ["OUTPUT_STRIDE", "check_maps", "spatial_options"]

OUTPUT_STRIDE = 8
"""Pixels of the image for one of the map."""

_ADVICE = (
    "Use a convolutional backbone that takes output_stride, for example resnet50.tv_in1k, "
    "resnet18.a1_in1k or convnext_tiny.fb_in1k."
)


@cache
def _refusal(architecture: str) -> str:
    """Returns why timm can't build an architecture with our options; "" if it can.

    It is built without memory for its weights, which takes a second for the largest.
    """
    import timm

    options: dict[str, Any] = {"num_classes": 0, "global_pool": "", "output_stride": OUTPUT_STRIDE}
    try:
        with torch.device("meta"):
            timm.create_model(architecture, pretrained=False, **options)
    except (TypeError, AssertionError, NotImplementedError) as failure:
        told = re.sub(r"^\w+\.__init__\(\) ", "", str(failure))
        return told or f"timm allows no output stride of {OUTPUT_STRIDE}"
    except Exception:  # built without memory, a few read their own weights; the real one tells
        return ""
    return ""


def spatial_options(name: str) -> dict[str, Any]:
    """Returns the options by which ``timm.create_model`` builds a dense feature extractor.

    Args:
        name: ``architecture`` or ``architecture.tag``; one that timm knows.

    Returns:
        ``output_stride`` and ``global_pool``, to be merged with ``num_classes = 0``.

    Raises:
        ConfigError: If the architecture can't keep its resolution, as vision transformers.
    """
    if reason := _refusal(name.split(".")[0]):
        raise ConfigError(
            f"Backbone {name!r} can't give maps of features at output stride {OUTPUT_STRIDE}, "
            f"which segmentation needs: {reason}. {_ADVICE}"
        )
    return {"output_stride": OUTPUT_STRIDE, "global_pool": ""}


@torch.no_grad()
def check_maps(module: nn.Module, input_shape: tuple[int, ...], label: str) -> tuple[int, int, int]:
    """Runs a network on one image and checks that its output is a map.

    Args:
        module: The network, in evaluation mode.
        input_shape: Channels, height and width of an image.
        label: Name of the backbone, for the message.

    Returns:
        Channels C of the map, its height h and width w.

    Raises:
        ConfigError: If it does not take such images, or does not return one tensor
            (N, C, h, w) with h and w at most those of the image.
    """
    try:
        output = module(torch.zeros(1, *input_shape))
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as failure:
        raise ConfigError(
            f"Backbone {label!r} does not take inputs of shape {tuple(input_shape)}: {failure}"
        ) from failure
    if not isinstance(output, torch.Tensor):
        found = f"a {type(output).__name__}"
    elif output.ndim != 4:
        found = f"a tensor of shape {tuple(output.shape)}"
    elif _channels_last(module, output):
        found = f"(N, h, w, C) with the channels at the end, shape {tuple(output.shape)}"
    else:
        _, channels, height, width = output.shape
        if height <= input_shape[-2] and width <= input_shape[-1]:
            return channels, height, width
        found = f"a map of shape {tuple(output.shape)}, larger than the image"
    raise ConfigError(
        f"Backbone {label!r} must return one map of features (N, C, h, w) for segmentation; for "
        f"an image of shape {tuple(input_shape)} it returned {found}. {_ADVICE}"
    )


def _channels_last(module: nn.Module, output: torch.Tensor) -> bool:
    """Returns whether the width that the network tells is that of the last dimension."""
    width = getattr(module, "num_features", None)
    return isinstance(width, int) and output.shape[1] != width == output.shape[3]
