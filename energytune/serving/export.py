"""Writes a model for other programs, with preprocessing inside, and checks what was written.

Inside is what is arithmetic on tensors: scaling, normalisation, the network, and the softmax or
sigmoid. Decoding an image file, resizing and cropping stay outside: Pillow resamples in 8 bits,
which no graph repeats to 1e-4. They are described in the file's metadata.

``onnx``
    Runs with onnxruntime and others.
``torch``
    A program of ``torch.export``, FILE.pt2, for ``torch.export.load``; Python code of the network
    is not needed. Weights lie as plain bytes, the graph as JSON, and nothing in it is a pickle.
    But ``torch.export.load`` unpickles what it finds: load files only from where you trust.
``safetensors``
    Weights, and the description as JSON in the header; ``energytune predict --model`` reads it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energytune.errors import ConfigError, OutputError, unknown_name
from energytune.serving.examples import Examples, make_examples
from energytune.serving.predictor import Predictor

__all__ = ["EXPORT_FORMATS", "TOLERANCE", "Export", "export_model"]

TOLERANCE = 1e-4
"""Largest difference between probabilities of the model and of what was written."""

Write = Callable[[Predictor, Examples, Path], Callable[[Examples], Any]]
"""Writes a file and returns what predicts with it."""


@dataclass(frozen=True)
class Export:
    """A file that was written and checked.

    Attributes:
        path: The file.
        file_format: One of :data:`EXPORT_FORMATS`.
        n_bytes: Its size.
        takes: What it takes and gives, a sentence.
        n_examples: Generated inputs that it was checked on.
        max_difference: Largest difference of a probability on them.
    """

    path: Path
    file_format: str
    n_bytes: int
    takes: str
    n_examples: int
    max_difference: float


def export_model(predictor: Predictor, file_format: str, path: Path) -> Export:
    """Writes a model, checks it against the original, and only then puts it into place.

    Args:
        predictor: The model, on the CPU.
        file_format: One of :data:`EXPORT_FORMATS`.
        path: The file to write; it is replaced if it exists.

    Raises:
        UnknownNameError: There is no such format.
        MissingDataError: A package that the format needs is not installed.
        ConfigError: The network can't be exported so, or what was written predicts otherwise.
        OutputError: The file can't be written.
    """
    write = _writer(file_format)
    examples = make_examples(predictor)
    expected = predictor.predict_probs(examples.raw)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as scratch:
            part = Path(scratch) / f"model{EXPORT_FORMATS[file_format]}"
            predict = write(predictor, examples, part)
            # one call for all and one for each: the size of a batch must be free
            whole = np.asarray(predict(examples))
            single = [np.asarray(predict(one)) for one in examples.single()]
            difference = max(
                float(np.abs(got - expected).max()) for got in (whole, np.concatenate(single))
            )
            if not difference <= TOLERANCE:
                raise ConfigError(
                    f"The exported model predicts otherwise than the original: probabilities "
                    f"differ by up to {difference:.2g}, more than {TOLERANCE:g}. Nothing was "
                    "written. Use --format safetensors."
                )
            n_bytes = part.stat().st_size
            os.replace(part, path)
    except OSError as error:
        if isinstance(error, OutputError) or error.filename is None:
            raise
        raise OutputError(
            f"{path} can't be written: {error.strerror or error}. Choose another --out."
        ) from error
    return Export(path, file_format, n_bytes, examples.takes, len(examples.raw), difference)


def _writer(file_format: str) -> Write:
    if file_format not in EXPORT_FORMATS:
        raise unknown_name("export format", file_format, EXPORT_FORMATS)
    if file_format == "onnx":
        from energytune.serving.export_onnx import write_onnx

        return write_onnx
    if file_format == "torch":
        from energytune.serving.export_torch import write_torch

        return write_torch
    from energytune.serving.export_safetensors import write_safetensors

    return write_safetensors


EXPORT_FORMATS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
"""Formats with the usual ending of their files."""
