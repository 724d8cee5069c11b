"""Where a model computes."""

from __future__ import annotations

import torch

from energytune.errors import ConfigError, ResourceError

__all__ = ["choose_device"]


def choose_device(name: str | None) -> torch.device:
    """Returns a device that is there.

    Args:
        name: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; ``"auto"`` or None is a GPU if there is
            one, else the CPU.

    Raises:
        ConfigError: It is no name of a device.
        ResourceError: There is no such device on this machine.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise ConfigError(
            f"Unknown device {name!r}. Known: auto, cpu, cuda, cuda:0, ..."
        ) from failure
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(f"A device must be cpu or cuda, got {name!r}.")
    n_gpus = torch.cuda.device_count()
    if (device.index or 0) >= n_gpus:
        raise ResourceError(
            f"There is no device {name!r}: this machine has {n_gpus} usable GPUs. Use --device cpu."
        )
    return device
