"""How many samples go through a network at once: halved when the memory does not suffice.

A batch of n samples whose loss is a mean over its labels has the gradient

    sum over pieces of (labels of the piece / labels of the batch) x gradient of the piece

so that the pieces of a batch give the same step as the whole of it, up to rounding. Two things see
the piece and not the batch: batch normalisation takes its statistics over a piece, and dropout
draws in another order. So a network with either trains a little differently once its batches are
halved, and in the step where that happens the running statistics see the piece that did not fit
twice. The size that fits is remembered, so that afterwards it is the same from the first step on.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from energytune.config import EngineConfig
from energytune.errors import OutputError, TrialFailure
from energytune.json_text import read_json
from energytune.paths import CACHE_ADVICE, atomic_file, cache_dir
from energytune.training.features import content_key

__all__ = [
    "MICRO_BATCHES",
    "MicroBatch",
    "PiecewiseForward",
    "is_out_of_memory",
    "memory_shape",
    "pieces",
    "release_memory",
]

MICRO_BATCHES = "micro-batches"
"""Folder under the cache in which is kept what fitted."""

_MAX_HALVINGS = 3
_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_ADVICE = (
    "Take a smaller finetune.batch_size or --image-size, --precision bf16, more of the GPU for a "
    "trial (--gpus-per-trial), or a smaller backbone."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def pieces(n_samples: int, size: int) -> list[int]:
    """Returns the sizes of the pieces of a batch, as equal as can be; their sum is ``n_samples``.

    None is larger than ``size``, but that an odd batch in pieces of 2 has one of 3: batch
    normalisation has no variance to compute on a single sample.

    Args:
        n_samples: Of the batch, >= 1.
        size: >= 1.
    """
    n_pieces = -(-n_samples // size)
    if size > 1 and n_samples > 1:
        n_pieces = min(n_pieces, n_samples // 2)
    least, n_larger = divmod(n_samples, n_pieces)
    return [least + 1] * n_larger + [least] * (n_pieces - n_larger)


def first_line(said: str) -> str:
    """Returns the first line of an error's text, as a sentence; Python's own says nothing."""
    return (said.strip() or "no more was said").split("\n", 1)[0].rstrip(".") + "."


def release_memory(device: torch.device) -> None:
    """Gives back what is no longer used, the device's too."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_shape(
    spec: Mapping[str, Any],
    input_shape: Sequence[int],
    device: torch.device,
    engine: EngineConfig,
) -> dict[str, Any]:
    """Returns JSON values that say how much memory a sample needs, and how much there is.

    Args:
        spec: Of the model: backbone, head, depth.
        input_shape: Of one sample.
        device: Where it is trained.
        engine: How.
    """
    memory_gib = None
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        share = torch.cuda.get_per_process_memory_fraction()
        memory_gib = round(share * properties.total_memory / 2**30)
    return {
        **spec,
        "input_shape": list(input_shape),
        "device": device.type,
        "memory_gib": memory_gib,
        "engine": engine.model_dump(),
    }


class MicroBatch:
    """The number of samples that fit through a network in training, found by halving.

    What fitted is remembered under the recipe's shape: in this process and, as a small file in the
    cache folder, for the others. Where that file can't be written it is known here alone.

    Args:
        shape: JSON values that say how much memory a sample needs and how much there is.
        largest: Samples of the largest batch of a process, >= 1.

    Attributes:
        size: Samples that go through at once.
    """

    def __init__(self, shape: Mapping[str, Any], largest: int) -> None:
        self._shape = {**shape, "largest": largest}
        self._largest = largest
        self._key = content_key(kind="micro-batch", **self._shape)
        self.size = min(largest, _read(self._key) or largest)

    @property
    def n_halvings(self) -> int:
        """How often the batch has been halved, in this trial or before."""
        n_halvings, size = 0, self._largest
        while size > self.size:
            n_halvings, size = n_halvings + 1, -(-size // 2)
        return n_halvings

    def halve(self, device: torch.device, said: str) -> None:
        """Takes half as many from now on, here and in other processes; gives memory back.

        The caller must have left the ``except`` block: the error's frames hold tensors.

        Args:
            device: Where there was no memory.
            said: The error's text.

        Raises:
            TrialFailure: If that was the fourth time, or a single sample does not fit.
        """
        if self.n_halvings >= _MAX_HALVINGS or self.size == 1:
            raise TrialFailure(
                f"Out of memory on {device} with {self.size} of a batch's {self._largest} samples "
                f"at once, after {self.n_halvings} halvings: {first_line(said)} {_ADVICE}"
            )
        self.size = -(-self.size // 2)
        _write(self._key, self._shape, self.size)
        release_memory(device)


class PiecewiseForward:
    """A forward without gradients that halves its inputs until they fit.

    In evaluation mode no sample sees another, so the outputs are those of the whole batch, up to
    rounding. Later batches begin with the size that fitted.

    Args:
        forward: Inputs (N, ...) to outputs (N, ...).
    """

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward
        self._size: int | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Returns the outputs of all inputs.

        Raises:
            TrialFailure: If a single sample does not fit.
        """
        while True:
            size = len(inputs) if self._size is None else self._size
            try:
                if len(inputs) <= size:
                    return self._forward(inputs)
                return torch.cat([self._forward(part) for part in torch.split(inputs, size)])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                said = first_line(str(error))
            size = min(size, len(inputs))
            if size <= 1:
                raise TrialFailure(
                    f"Out of memory on {inputs.device} with a single sample at once: {said} "
                    f"{_ADVICE}"
                )
            self._size = -(-size // 2)
            release_memory(inputs.device)


_known: dict[str, int] = {}


def _path(key: str) -> Path:
    return cache_dir() / MICRO_BATCHES / f"{key}.json"


def _read(key: str) -> int | None:
    """Returns what fitted, here or elsewhere; None if the whole batch did, or nobody knows."""
    try:
        size = read_json(_path(key))["n_samples"]
        elsewhere = size if isinstance(size, int) and size >= 1 else None
    except (OSError, ValueError, KeyError, TypeError):
        elsewhere = None
    sizes = [size for size in (_known.get(key), elsewhere) if size is not None]
    return min(sizes, default=None)


def _write(key: str, shape: Mapping[str, Any], size: int) -> None:
    _known[key] = size
    try:
        with atomic_file(_path(key), CACHE_ADVICE) as file:
            file.write(json.dumps({"n_samples": size, "shape": shape}).encode())
    except OutputError:
        pass  # it is found out again by each process
