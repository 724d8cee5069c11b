"""Finding out how a user's own module is built again, to reinitialise it as its family does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from energytune.models.block_tables import torchvision_family

__all__ = ["fresh_like"]


def fresh_like(module: nn.Module) -> Callable[[], nn.Module] | None:
    """Returns what builds the same architecture with random weights.

    Args:
        module: A network of a class of timm or torchvision, its classifier replaced or not.

    Returns:
        None if it is no such network, or was changed so that no architecture of its family has
        all its weights; and for torchvision's RegNet, which can't be built without memory.
    """
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for build in _candidates(module):
        try:
            with torch.device("meta"):
                state = build().state_dict()
        except (AssertionError, RuntimeError, ValueError, TypeError):  # built for other inputs
            continue
        if all(name in state and state[name].shape == shape for name, shape in wanted.items()):
            return build
    return None


def _candidates(module: nn.Module) -> Iterator[Callable[[], nn.Module]]:
    """Yields what may build the module; the last parameter's length is that of its logits."""
    parameters = list(module.parameters())
    if not parameters:
        return
    n_outputs = len(parameters[-1]) if parameters[-1].ndim else 1
    if (family := torchvision_family(module)) is not None:
        import torchvision

        options: dict[str, Any] = {}
        if isinstance(size := getattr(module, "image_size", None), int):
            options["image_size"] = size
        if family in ("googlenet", "inception"):
            options |= {"aux_logits": False, "init_weights": True}
        for name in torchvision.models.list_models(module=torchvision.models):
            builder = torchvision.models.get_model_builder(name)
            if builder.__module__ == f"torchvision.models.{family}":
                yield partial(builder, weights=None, num_classes=n_outputs, **options)
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and type(module).__module__.startswith("timm.models."):
        import timm

        if (name := config.get("architecture")) in timm.list_models():
            for n_classes in (0, n_outputs):
                yield partial(timm.create_model, name, pretrained=False, num_classes=n_classes)
