"""Inputs in lists of a size, and the error that tells which of them can't be used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from energytune.errors import ConfigError, DataError

__all__ = ["bad_inputs", "chunks"]

_MAX_TOLD = 50


def bad_inputs(problems: Sequence[tuple[str, str]], n_inputs: int) -> DataError:
    """Returns the error that tells all inputs that can't be used.

    Args:
        problems: Name and reason of each.
        n_inputs: All inputs, good ones too.
    """
    lines = [f"{name}: {reason}." for name, reason in problems[:_MAX_TOLD]]
    if len(problems) > _MAX_TOLD:
        lines.append(f"and {len(problems) - _MAX_TOLD} more.")
    if n_inputs == 1:
        return DataError(f"The input can't be used. {lines[0]}")
    told = "".join(f"\n  {line}" for line in lines)
    return DataError(f"{len(problems)} of {n_inputs} inputs can't be used:{told}")


def chunks(inputs: Any, size: int) -> Iterator[list[Any]]:
    """Yields lists of up to ``size`` inputs; a single path, text, file or picture is one input.

    Raises:
        ConfigError: ``size`` is less than 1.
        DataError: There is nothing to iterate over.
    """
    if size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {size}.")
    rest = iter(_several(inputs))
    while raws := list(islice(rest, size)):
        yield raws


def _several(inputs: Any) -> Iterable[Any]:
    from PIL import Image

    if isinstance(inputs, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)):
        return (inputs,)
    if not isinstance(inputs, Iterable):
        raise DataError(f"Inputs must be a list or an array, got a {type(inputs).__name__}.")
    return inputs
