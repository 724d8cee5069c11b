"""Writes ONNX, and runs it with onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from energytune.errors import ConfigError, MissingDataError
from energytune.serving.examples import Examples
from energytune.serving.export_graph import describe_export, trace
from energytune.serving.predictor import Predictor

__all__ = ["write_onnx"]

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write_onnx(predictor: Predictor, examples: Examples, path: Path) -> Callable[[Examples], Any]:
    """Writes the file and returns what predicts with it.

    Raises:
        MissingDataError: A package is not installed.
        ConfigError: The network can't be exported.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDataError(
            f"ONNX needs {', '.join(missing)}, not installed here. Install with: "
            'pip install "energytune[export]"'
        )
    program = trace(predictor, examples)
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                (torch.from_numpy(examples.tensor),),
                dynamo=True,
                verbose=False,
                input_names=[examples.name],
                output_names=["probs"],
            )
            if made is None:
                raise RuntimeError("torch.onnx.export returned nothing")
            made.model.metadata_props["energytune"] = describe_export(predictor, examples)
            made.save(path)
    except OSError:
        raise
    except Exception as failure:  # the exporter raises errors of many kinds
        first = (str(failure).strip() or type(failure).__name__).splitlines()[0][:200]
        raise ConfigError(
            f"The network can't be written as ONNX: {first}. Use --format torch or safetensors."
        ) from failure
    return _runner(path)


def _runner(path: Path) -> Callable[[Examples], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def predict(examples: Examples) -> Any:
        return session.run(["probs"], {examples.name: examples.tensor})[0]

    return predict


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress and its advice to developers from the terminal."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
