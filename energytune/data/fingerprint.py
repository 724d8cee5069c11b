"""Addresses of data by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["hash_lines", "hash_tensors", "protocol_text", "splits_fingerprint"]


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """Returns the sha256 (hex) over dtypes, shapes and values of ``tensors``, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def hash_lines(lines: Iterable[str]) -> str:
    """Returns the sha256 (hex) of text lines, in order."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def splits_fingerprint(hashes: dict[str, str], *transform_ids: str) -> str:
    """Returns the sha256 (hex) of the splits' hashes and of the transforms' identities."""
    return hash_lines([*(hashes[part] for part in ("train", "valid", "test")), *transform_ids])


def protocol_text(
    name: str,
    hashes: dict[str, str],
    n_valid: int,
    n_test: int,
    *,
    metric: str = "accuracy",
    units: str = "images",
    note: str = "",
) -> str:
    """Returns on which samples the score is measured, as short text.

    Args:
        name: The dataset's.
        hashes: Of ``valid`` and ``test``.
        n_valid: Samples of valid.
        n_test: Samples of test.
        metric: What is measured, for example ``"mIoU"``.
        units: What a sample is called.
        note: What else tells this protocol from others, for example where the splits come from.
    """
    told = f"; {note}" if note else ""
    return (
        f"{name}: {metric} on {n_valid} valid ({hashes['valid'][:12]}) "
        f"and {n_test} test {units} ({hashes['test'][:12]}){told}"
    )
