"""Reading the tensors of a checkpoint file without ever running code that it carries."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from energytune.errors import CheckpointError, MissingDataError

__all__ = ["file_sha256", "flatten_tensors", "read_tensors"]

_SAVE_HINT = (
    "Save the weights alone with torch.save(model.state_dict(), FILE) or as safetensors, "
    "on a machine where you trust the file."
)
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How PyTorch's format before 1.6 begins: its magic number, pickled."""
_MAX_HEADER_BYTES = 10**8
"""safetensors' own limit."""
_OTHER_FORMATS = {
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"version https://git-lfs": "a git-lfs pointer: the weights themselves were not downloaded",
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads all tensors of a checkpoint, nested names joined by dots.

    Args:
        path: A safetensors file, or PyTorch's format with tensors and plain values only.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        MissingDataError: If there is no such file.
        CheckpointError: If it is damaged, of another format, or would have to be unpickled.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise MissingDataError(f"The checkpoint {str(path)!r} {what}. Check --checkpoint FILE.")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise _refusal(path, "is empty: its download or copy was cut off")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _refusal(path, "is a web page (HTML), not weights: follow its link in a browser")
    # first of all binary formats: its leading 8 bytes are a length and may look like any other's
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _MAX_HEADER_BYTES:
        return _load_safetensors(path)
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise _refusal(path, f"is {what}")
    if head.startswith(b"PK"):
        _check_archive(path)
        return flatten_tensors(_load_torch(path))
    if head.startswith(_LEGACY_TORCH):
        return flatten_tensors(_load_torch(path))
    if head.startswith(b"\x80"):
        raise _refusal(path, "is a plain pickle, which can run any code when read", _SAVE_HINT)
    if zipfile.is_zipfile(path):
        raise _refusal(path, "has something in front of its archive")
    raise _refusal(path, "is neither safetensors nor PyTorch's format, or is damaged")


def flatten_tensors(nested: Any, prefix: str = "") -> dict[str, Tensor]:
    """Returns all tensors in nested dicts, names joined by dots; anything else is left out."""
    if isinstance(nested, Tensor):
        return {prefix or "tensor": nested}
    if not isinstance(nested, Mapping):
        return {}
    tensors: dict[str, Tensor] = {}
    for key, value in nested.items():
        tensors |= flatten_tensors(value, f"{prefix}.{key}" if prefix else str(key))
    return tensors


def file_sha256(path: Path) -> str:
    """Returns the hex digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_archive(path: Path) -> None:
    """Tells PyTorch's zip archives from all others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise _refusal(
            path, "is truncated: the end of its archive is missing", "Download it again."
        ) from None
    if any(name.endswith(".npy") for name in names):
        raise _refusal(path, "is a NumPy archive (.npz)", "Convert it to safetensors.")
    if any(
        name.endswith(("/constants.pkl", "/version.json")) or "/code/" in name for name in names
    ):
        raise _refusal(
            path, "is a TorchScript archive, which holds code",
            "Load it with torch.jit.load where you trust it. " + _SAVE_HINT,
        )  # fmt: skip
    if not any(name.endswith("data.pkl") for name in names):
        raise _refusal(path, "is a zip archive without PyTorch weights")


def _load_torch(path: Path) -> Any:
    """Loads PyTorch's format; of classes only ``argparse.Namespace`` (settings) is let in."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as failure:
        found = re.search(r"GLOBAL ([\w.]+)", str(failure))
        what = f" ({found[1]})" if found else ""
        raise _refusal(
            path,
            f"holds pickled Python objects{what}, as a whole saved model does; reading them "
            "can run any code",
            _SAVE_HINT,
        ) from None
    except (EOFError, OSError, RuntimeError, ValueError, KeyError) as failure:
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        raise _refusal(path, f"is truncated or damaged: {reason}", "Download it again.") from None


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Loads a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as failure:
        raise _refusal(path, f"is truncated or damaged: {failure}", "Download it again.") from None
    return tensors


def _refusal(path: Path, what: str, hint: str = "") -> CheckpointError:
    hint = hint or "Pass safetensors, or PyTorch's format with a state_dict."
    return CheckpointError(f"The checkpoint {str(path)!r} {what}. {hint}")
