"""The 1,797 handwritten digits that come with scikit-learn, kept where they load fast.

Importing scikit-learn takes seconds, and every worker process would pay them. So the images
are written once to the user's cache, and each later process reads 120 kB.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from energytune.data.fingerprint import hash_tensors
from energytune.errors import DataError, OutputError
from energytune.paths import atomic_file, cache_dir

__all__ = ["RAW_SHA256", "read_digits"]

RAW_SHA256 = "4d28e91fb84e4c5f01b52a2446d8f223f39780f96b8f103a04b4dea422fc7b18"
"""Content of the images and targets; the embedded splits are indices into exactly these."""


def read_digits() -> tuple[Tensor, Tensor]:
    """Returns the raw images, (1797, 64) uint8 in 0..16, and digits, (1797,) int64.

    A cache that is missing or damaged is made again; one that can't be written is done without.

    Raises:
        DataError: The installed scikit-learn carries other digits.
    """
    path = cache_dir() / "data" / f"digits-{RAW_SHA256[:12]}.safetensors"
    cached = _read_cache(path)
    if cached is not None:
        return cached
    images, targets = _from_sklearn()
    if hash_tensors((images, targets)) != RAW_SHA256:
        raise DataError(
            "The digits of the installed scikit-learn differ from those that the embedded "
            "datasets are cut from. Reinstall it: pip install --force-reinstall scikit-learn"
        )
    _write_cache(path, save({"images": images, "targets": targets}))
    return images, targets


def _read_cache(path: Path) -> tuple[Tensor, Tensor] | None:
    try:
        tensors = load(path.read_bytes())
        images, targets = tensors["images"], tensors["targets"]
    except (OSError, SafetensorError, KeyError):
        return None
    return (images, targets) if hash_tensors((images, targets)) == RAW_SHA256 else None


def _write_cache(path: Path, content: bytes) -> None:
    # A cache saves time, and nothing else depends on it.
    with contextlib.suppress(OutputError), atomic_file(path, "") as file:
        file.write(content)


def _from_sklearn() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (
        torch.from_numpy(digits.data).to(torch.uint8),
        torch.from_numpy(digits.target).to(torch.int64),
    )
