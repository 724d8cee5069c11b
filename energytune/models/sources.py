"""Where a backbone's network comes from: its name tells, or the user gives it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

from torch import nn

from energytune.config import InputConfig
from energytune.errors import ConfigError, MissingDataError
from energytune.models import timm_backbones as timm_side
from energytune.models import torchvision_backbones as torchvision_side
from energytune.models.embedded import EMBEDDED_BACKBONES
from energytune.models.lookalikes import fresh_like
from energytune.models.reinit import seeded

__all__ = ["Source", "all_names", "named_source", "own_source"]


class Source(NamedTuple):
    """A network as it comes, before it is checked.

    Attributes:
        label: Name of the backbone.
        module: The network, on the CPU.
        input_shape: Shape of one input, without the batch.
        images: What it expects of images; None if that is not known.
        fresh: Builds the same architecture with random weights; None if nobody knows how.
    """

    label: str
    module: nn.Module
    input_shape: tuple[int, ...]
    images: InputConfig | None
    fresh: Callable[[], nn.Module] | None


def own_source(module: nn.Module, input_shape: tuple[int, ...] | None) -> Source:
    """Returns a copy of a user's own module.

    Raises:
        ConfigError: If ``input_shape`` is None.
    """
    if input_shape is None:
        raise ConfigError(
            f"input_shape must be given with your own module ({type(module).__name__}): the "
            "shape of one input without the batch, for example (3, 224, 224)."
        )
    own = torchvision_side.without_auxiliary_heads(copy.deepcopy(module).cpu())
    return Source(f"custom:{type(module).__name__}", own, input_shape, None, fresh_like(own))


def named_source(
    name: str,
    input_shape: tuple[int, ...] | None,
    *,
    random: bool,
    seed: int,
    spatial: bool = False,
) -> Source:
    """Returns the network of that name.

    Args:
        name: Of an embedded, a timm or (``torchvision/...``) a torchvision model.
        input_shape: Shape of one input, if it is not the usual one.
        random: Whether random weights are wanted.
        seed: Seed of random weights.
        spatial: Whether it must give maps of features, at a stride of 8.

    Raises:
        UnknownNameError: If there is no such backbone.
        MissingDataError: If the weights are not on this machine and can't be downloaded.
        ConfigError: If the model does not take such inputs, or gives no maps.
    """
    if name in EMBEDDED_BACKBONES:
        return _embedded(name, input_shape, random, seed)
    if name.startswith(torchvision_side.PREFIX):
        if spatial:
            raise ConfigError(
                f"Backbone {name!r} gives one vector an image, and segmentation needs maps. Use "
                f"timm's {name.removeprefix(torchvision_side.PREFIX)!r}; the weights of "
                "torchvision's ResNets load into it with --checkpoint."
            )
        images = torchvision_side.torchvision_input(name, input_shape, all_names())
        fresh = partial(torchvision_side.build_torchvision, name, images.size)
        module = (
            seeded(fresh, seed) if random else torchvision_side.load_torchvision(name, images.size)
        )
        return Source(name, module, images.size, images, fresh)
    known = frozenset(EMBEDDED_BACKBONES)
    if name not in timm_side.timm_names():
        known = all_names()  # for near names
    options = timm_side.timm_options(name, input_shape, known)
    if spatial:
        from energytune.models.spatial_timm import spatial_options

        options |= spatial_options(name)
    fresh = partial(timm_side.build_timm, name, options)
    module = seeded(fresh, seed) if random else timm_side.load_timm(name, options)
    images = timm_side.input_config(module, input_shape)
    return Source(name, module, images.size, images, fresh)


def all_names() -> frozenset[str]:
    """Returns the names of all backbones."""
    torchvision_names = torchvision_side.torchvision_names()
    return frozenset(EMBEDDED_BACKBONES) | timm_side.timm_names() | torchvision_names


def _embedded(name: str, input_shape: tuple[int, ...] | None, random: bool, seed: int) -> Source:
    """Returns an embedded backbone, which has no weights of its own."""
    if not random:
        raise MissingDataError(
            f"There are no weights to download for the backbone {name!r}: a search on a dataset "
            "that comes with the package pretrains it on first use. Pass --checkpoint FILE "
            "(energytune pretrain makes one), or --weights none."
        )
    fresh = EMBEDDED_BACKBONES[name]
    module = seeded(fresh, seed)
    shape = input_shape or tuple(cast(tuple[int, ...], module.input_shape))
    return Source(name, module, shape, None, fresh)
