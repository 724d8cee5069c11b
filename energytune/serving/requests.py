"""Requests to a served model: what MLflow hands over becomes raw inputs, and answers JSON values.

MLflow gives a table, an array, or arrays by name, whichever the client has sent. Text is taken as
base64 of an image file, or as a SMILES, and never as a path: a server must not open files that a
client names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from energytune.data.image_decoding import from_base64
from energytune.data.input_images import ImageInputs
from energytune.errors import DataError
from energytune.serving.chunks import bad_inputs
from energytune.serving.input_names import INPUT_NAMES
from energytune.serving.predictor import Batch, Predictor

__all__ = ["answer_request"]

_PADDING = 255  # in masks: outside the image


def answer_request(predictor: Predictor, request: Any, batch_size: int) -> dict[str, Any]:
    """Returns the predictions of all inputs of a request.

    Args:
        predictor: The model.
        request: A DataFrame, an array, a list, or one of these by the input's name.
        batch_size: Inputs a forward pass, >= 1.

    Returns:
        For classes ``"probs"`` float32 (N, K), ``"label"`` int64 (N,) and ``"class_name"`` (N,)
        text; for several yes-or-no labels ``"probs"`` (N, L), ``"label"`` (N, L) of 0 and 1, and
        ``"class_name"`` (N,), the labels that apply, parted by commas; for pixels ``"label"``
        int64 (N, H, W) of the network's size, 255 where an image was padded.

    Raises:
        DataError: Some inputs can't be used; the message has all of them.
        ConfigError: ``batch_size`` is less than 1.
    """
    kind = predictor.preprocessing.kind
    raws = _column(request, INPUT_NAMES.get(kind))
    parts: list[dict[str, Any]] = []
    problems: list[tuple[str, str]] = []
    for batch in predictor.batches(raws, batch_size=batch_size, read=_READERS[kind]):
        problems += [(f"input {i}", reason) for i, reason in batch.problems]
        if not problems:
            parts.append(_answer(predictor, batch))
    if problems:
        raise bad_inputs(problems, len(raws))
    if not parts:
        raise DataError("The request has no inputs. Send at least one.")
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _column(request: Any, name: str | None) -> list[Any]:
    """Returns the inputs one by one, whatever they came in."""
    if isinstance(request, Mapping):
        if name is not None and name in request:
            return _column(request[name], None)
        if len(request) != 1:
            raise DataError(
                f"The request has the inputs {sorted(map(str, request))}, but this model has one"
                f"{f', called {name!r}' if name else ''}."
            )
        return _column(next(iter(request.values())), None)
    columns = getattr(request, "columns", None)
    if columns is None:
        has_rows = hasattr(request, "__len__") and getattr(request, "ndim", 1) > 0
        if not has_rows or isinstance(request, str | bytes):
            raise DataError(
                f"The request must be a list of inputs, got a {type(request).__name__}."
            )
        return list(request)
    if name is not None and name in columns:
        return list(request[name])
    if len(columns) == 1:
        return list(request.iloc[:, 0])
    return list(request.to_numpy())  # a row of numbers is one input


def _image(raw: Any) -> Any:
    """Returns the bytes of an image; arrays and pictures pass.

    Raises:
        DataError: It is a path, no base64, or nothing at all.
    """
    raw = _unwrapped(raw)
    if isinstance(raw, str):
        return from_base64(raw)
    if raw is None or isinstance(raw, os.PathLike | float | int | list):
        raise DataError(f"it must be an image in base64, got a {type(raw).__name__}")
    return raw


def _pixels(raw: Any) -> Any:
    """Returns the bytes of an image, or numbers; raises as :func:`_image`."""
    raw = _unwrapped(raw)
    return raw if isinstance(raw, list) else _image(raw)


def _unwrapped(raw: Any) -> Any:
    """Returns what MLflow has put into an array without dimensions, or a text of numpy's."""
    return raw.item() if isinstance(raw, np.generic | np.ndarray) and raw.ndim == 0 else raw


_READERS: dict[str, Callable[[Any], Any] | None] = {
    "image": _image,
    "pixels": _pixels,
    "smiles": _unwrapped,
    "ready": None,
}


def _answer(predictor: Predictor, batch: Batch) -> dict[str, Any]:
    if predictor.kind == "pixels":
        return {"label": _padded_masks(predictor, batch)}
    names = [told.class_name for told in predictor.predictions(batch)]
    probs = batch.output
    label = probs > 0.5 if predictor.kind == "labels" else probs.argmax(1)
    return {
        "probs": probs,
        "label": label.astype(np.int64),
        "class_name": np.array(names, dtype=object),
    }


def _padded_masks(predictor: Predictor, batch: Batch) -> Any:
    masks = batch.output.astype(np.int64)
    if isinstance(predictor.preprocessing, ImageInputs):
        for mask, image in zip(masks, batch.prepared, strict=True):
            height, width = predictor.preprocessing.covered(image)
            mask[height:], mask[:, width:] = _PADDING, _PADDING
    return masks
