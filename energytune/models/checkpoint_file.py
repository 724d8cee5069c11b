"""Reading the tensors of a checkpoint file without ever running code that it carries."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from energytune.errors import CheckpointError, MissingDataError
from energytune.json_text import parse_json
from energytune.models.checkpoint_pickle import SAVE_HINT, load_pickled

__all__ = ["file_sha256", "flatten_tensors", "read_metadata", "read_tensors"]

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How PyTorch's format before 1.6 begins: its magic number, pickled."""
_MAX_HEADER_BYTES = 10**8
"""safetensors' own limit."""
_MAX_DEPTH = 32
"""Of nested dicts; the deepest of the field (VISSL) has 6. A dict may even hold itself."""
_OTHER_FORMATS = {
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF": "an HDF5 file (Keras, .h5)",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"(\xb5/\xfd": "a zstd archive: unpack it first",
    b"version https://git-lfs": "a git-lfs pointer: the weights themselves were not downloaded",
    b"model_checkpoint_path:": "TensorFlow's list of checkpoints",
    b"{": "JSON, as the index of a model in several files is",
}
_TENSORFLOW_INDEX_END = bytes.fromhex("57fb808b247547db")
"""The last bytes of a table of LevelDB."""
_OTHER_NAMES = {
    r"\.data-\d+-of-\d+$": "a part of a TensorFlow checkpoint",
    r"\.pb$": "a TensorFlow graph",
    r"\.onnx$": "an ONNX graph",
    r"\.msgpack$": "a Flax checkpoint",
}
_CONVERT_HINT = "Convert it to PyTorch names and save it as safetensors."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads all tensors of a checkpoint, nested names joined by dots.

    Args:
        path: A safetensors file, or PyTorch's format with tensors, plain values and settings.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        MissingDataError: If there is no such file.
        CheckpointError: If it is damaged, of another format, or would have to be unpickled.
    """
    path = Path(path)
    head = _read_head(path)
    if not head:
        raise _refusal(path, "is empty: its download or copy was cut off")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _refusal(path, "is a web page (HTML), not weights: follow its link in a browser")
    # first of all binary formats: its leading 8 bytes are a length and may look like any other's
    if _has_header(head):
        _header_bytes(path, head)
        return _load_safetensors(path)
    if head.startswith(b"PK"):
        _check_archive(path)
    elif not head.startswith(_LEGACY_TORCH):
        raise _other_format(path, head)
    nested = load_pickled(path)
    try:
        tensors = flatten_tensors(nested)
        place = None if tensors else _listed_tensors(nested)
    except ValueError as failure:
        raise _refusal(path, str(failure), SAVE_HINT) from None
    if place is not None:
        raise _refusal(
            path,
            f"has its weights in a list ({place}), where names and networks can't be told apart",
            "Save the state_dict that you mean alone: torch.save(torch.load(FILE)[0], NEW_FILE).",
        )
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the texts that a safetensors file carries; its weights are not read.

    Args:
        path: The file.

    Returns:
        Texts by key; {} for other formats and for a file without metadata.

    Raises:
        MissingDataError: If there is no such file.
        CheckpointError: If the header is longer than the file or 100 MB, or is no JSON of texts.
    """
    path = Path(path)
    head = _read_head(path)
    if not _has_header(head):
        return {}
    n_bytes = _header_bytes(path, head)
    with path.open("rb") as file:
        file.seek(8)
        raw = file.read(n_bytes)
    try:
        header = parse_json(raw)
        metadata = header.get("__metadata__") or {}
        texts = {str(key): value for key, value in metadata.items()}
    except (ValueError, AttributeError) as failure:
        reason = str(failure).splitlines()[0]
        raise _refusal(path, f"has a damaged header: {reason}", "Download it again.") from None
    if not all(isinstance(value, str) for value in texts.values()):
        raise _refusal(path, "has metadata that are no texts", "Save it with safetensors again.")
    return texts


def flatten_tensors(nested: Any, prefix: str = "") -> dict[str, Tensor]:
    """Returns all tensors in nested dicts, names joined by dots; anything else is left out.

    Raises:
        ValueError: If two tensors get the same name, or dicts are nested without an end.
    """
    return _flatten(nested, prefix, 0)


def file_sha256(path: Path) -> str:
    """Returns the hex digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flatten(nested: Any, prefix: str, depth: int) -> dict[str, Tensor]:
    if isinstance(nested, Tensor):
        return {prefix or "tensor": nested}
    if not isinstance(nested, Mapping):
        return {}
    if depth == _MAX_DEPTH:
        raise ValueError(f"has dicts nested more than {_MAX_DEPTH} deep, at {prefix[:80]!r}")
    tensors: dict[str, Tensor] = {}
    for key, value in nested.items():
        found = _flatten(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
        if twice := sorted(found.keys() & tensors.keys()):
            raise ValueError(f"holds two tensors called {twice[0]!r}, nested names joined by dots")
        tensors |= found
    return tensors


def _listed_tensors(nested: Any, depth: int = 0) -> str | None:
    """Returns how many tensors the first list with some has; None if there is no such list."""
    if depth == _MAX_DEPTH:
        return None
    if isinstance(nested, Mapping):
        places = (_listed_tensors(value, depth + 1) for value in nested.values())
        return next((place for place in places if place is not None), None)
    if not isinstance(nested, list | tuple):
        return None
    if n_tensors := sum(len(_flatten(item, "", depth)) for item in nested):
        return f"{len(nested)} items with {n_tensors} tensors"
    places = (_listed_tensors(item, depth + 1) for item in nested)
    return next((place for place in places if place is not None), None)


def _read_head(path: Path) -> bytes:
    """Returns the first bytes of a file."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise MissingDataError(f"The checkpoint {str(path)!r} {what}. Check --checkpoint FILE.")
    with path.open("rb") as file:
        return file.read(512)


def _has_header(head: bytes) -> bool:
    """Returns whether a file begins as safetensors do: 8 bytes of length, then JSON."""
    return head[8:9] == b"{"


def _header_bytes(path: Path, head: bytes) -> int:
    """Returns the length of a safetensors header, which must lie within the file."""
    n_bytes, n_left = int.from_bytes(head[:8], "little"), path.stat().st_size - 8
    if n_bytes > _MAX_HEADER_BYTES:
        raise _refusal(
            path,
            f"is no safetensors file, or damaged: its header claims {n_bytes} bytes, where at most "
            f"{_MAX_HEADER_BYTES} are allowed",
        )
    if n_bytes > n_left:
        raise _refusal(
            path,
            f"is truncated: its header claims {n_bytes} bytes, and only {n_left} follow",
            "Download it again.",
        )
    return n_bytes


def _other_format(path: Path, head: bytes) -> CheckpointError:
    """Returns the refusal of a file that is of no format with weights."""
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            return _refusal(path, f"is {what}")
    if head.startswith(b"\x80"):
        return _refusal(path, "is a plain pickle, which can run any code when read", SAVE_HINT)
    if head[257:262] == b"ustar":
        return _refusal(path, "is a tar archive: unpack it first")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_TENSORFLOW_INDEX_END)))
        end = file.read()
    if end == _TENSORFLOW_INDEX_END:
        return _refusal(path, "is the index of a TensorFlow checkpoint", _CONVERT_HINT)
    for pattern, what in _OTHER_NAMES.items():
        if re.search(pattern, path.name):
            return _refusal(path, f"is {what}, by its name", _CONVERT_HINT)
    if zipfile.is_zipfile(path):
        return _refusal(path, "has something in front of its archive")
    return _refusal(path, "is neither safetensors nor PyTorch's format, or is damaged")


def _check_archive(path: Path) -> None:
    """Tells PyTorch's zip archives from all others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
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
            "Load it with torch.jit.load where you trust it. " + SAVE_HINT,
        )  # fmt: skip
    if not any(name.endswith("data.pkl") for name in names):
        raise _refusal(path, "is a zip archive without PyTorch weights")


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Loads a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as failure:
        raise _refusal(path, f"is truncated or damaged: {failure}", "Download it again.") from None
    except KeyError as failure:  # a type of number that PyTorch does not have
        raise _refusal(path, f"holds numbers of the unknown type {failure}") from None
    return tensors


def _refusal(path: Path, what: str, hint: str = "") -> CheckpointError:
    hint = hint or "Pass safetensors, or PyTorch's format with a state_dict."
    return CheckpointError(f"The checkpoint {str(path)!r} {what}. {hint}")
