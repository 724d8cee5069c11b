"""A model with its preprocessing: raw inputs in, probabilities and names out, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from energytune.data.input_images import ImageInputs, PreparedImage
from energytune.data.preprocessing import Preprocessing, make_preprocessing
from energytune.errors import ConfigError, DataError
from energytune.serving.chunks import bad_inputs, chunks
from energytune.serving.device import choose_device
from energytune.serving.prediction import (
    Kind,
    Prediction,
    predict_classes,
    predict_labels,
    predict_pixels,
)
from energytune.tasks import Multiclass, MultiLabel, PerPixel, Task

__all__ = ["BATCH_SIZE", "Batch", "Predictor"]

BATCH_SIZE = 32
"""Inputs a batch unless another number is given."""

_KINDS: dict[str, Kind] = {"accuracy": "classes", "roc_auc": "labels", "miou": "pixels"}


@dataclass(frozen=True)
class Batch:
    """Some inputs and what the network says about those that can be used.

    Attributes:
        indices: Place of each usable input among all.
        prepared: What its preprocessing made of it.
        output: Probabilities, (N, K) float32; of pixels the class of each, (N, H, W) uint8.
        problems: Place and reason of each input that can't be used.
    """

    indices: tuple[int, ...]
    prepared: tuple[Any, ...]
    output: NDArray[Any]
    problems: tuple[tuple[int, str], ...]


class Predictor:
    """A finetuned model that takes raw inputs.

    Args:
        model: The network in its final weights.
        description: As in a registered model: ``spec``, ``metric``, ``class_names``,
            ``preprocessing``, ``input_shape``, ``dataset``, ``recipe``, ``score``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; None takes a GPU if there is one.
        name: Name of the registered model; empty if it is none.
        version: Its version; None if it has none.

    Attributes:
        description: As given.
        preprocessing: Makes the network's inputs of raw ones.
        device: Where the network lies.
        name: Name of the registered model.
        version: Its version.

    Raises:
        ConfigError: The description is damaged.
        ResourceError: There is no such device.
    """

    def __init__(
        self,
        model: nn.Module,
        description: Mapping[str, Any],
        *,
        device: str | None = None,
        name: str = "",
        version: int | None = None,
    ) -> None:
        self.description = dict(description)
        self.device = choose_device(device)
        self.name, self.version = name, version
        self.preprocessing: Preprocessing = make_preprocessing(
            self.description.get("preprocessing") or {}, self.description.get("input_shape")
        )
        self._task = _task(self.description)
        self._model = model.eval().to(self.device)

    @property
    def kind(self) -> Kind:
        """What is predicted: ``"classes"``, ``"labels"`` or ``"pixels"``."""
        return _KINDS[self._task.metric]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes or labels; their numbers if they have none."""
        names = self.description.get("class_names") or range(self._task.n_outputs)
        return tuple(str(name) for name in names)

    @property
    def dataset(self) -> str:
        """Name of the dataset it was finetuned on."""
        return str(self.description.get("dataset", ""))

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe by which it was made: tau, head, label smoothing and so on."""
        return dict(self.description.get("recipe") or {})

    @property
    def score(self) -> float | None:
        """Its score on the test split, in [0, 1]; None if it is not known."""
        score = self.description.get("score")
        return None if score is None else float(score)

    @property
    def n_values(self) -> int:
        """Numbers in one of the network's inputs."""
        return math.prod(self.description.get("input_shape") or ())

    @property
    def model(self) -> nn.Module:
        """The network, in evaluation mode: (N, ...) float32 to logits (N, K, ...)."""
        return self._model

    def __repr__(self) -> str:
        version = "" if self.version is None else f" v{self.version}"
        return f"Predictor({self.name or self.dataset}{version}, {self.kind}, {self.device})"

    def predict(
        self, inputs: Any, *, top_k: int | None = None, batch_size: int = BATCH_SIZE
    ) -> list[Prediction]:
        """Returns a prediction for each input.

        Args:
            inputs: One or several: paths, PIL images, bytes of image files, uint8 arrays, SMILES,
                or arrays such as the model takes.
            top_k: How many of the most probable classes are told, >= 1; None is one class, or
                all labels.
            batch_size: Inputs a forward pass, >= 1.

        Raises:
            DataError: Some inputs can't be used; the message has all of them.
        """
        found: list[Prediction] = []
        problems: list[tuple[int, str]] = []
        n_inputs = 0
        for batch in self.batches(inputs, batch_size=batch_size):
            found += self.predictions(batch, top_k)
            problems += batch.problems
            n_inputs += len(batch.indices) + len(batch.problems)
        if problems:
            raise bad_inputs([(f"input {i}", reason) for i, reason in problems], n_inputs)
        return found

    def predict_probs(self, inputs: Any, *, batch_size: int = BATCH_SIZE) -> NDArray[np.float32]:
        """Returns probabilities, (N, K) float32, or (N, K, H, W) for pixels.

        Args:
            inputs: As for :meth:`predict`.
            batch_size: Inputs a forward pass, >= 1.

        Raises:
            DataError: Some inputs can't be used; the message has all of them.
        """
        parts: list[NDArray[np.float32]] = []
        problems: list[tuple[str, str]] = []
        n_inputs = 0
        for raws in chunks(inputs, batch_size):
            _, prepared, bad = self._prepare(raws, n_inputs)
            n_inputs += len(raws)
            problems += [(f"input {i}", reason) for i, reason in bad]
            if prepared and not problems:
                parts.append(self.probs(self.preprocessing.stack(prepared)).cpu().numpy())
        if problems:
            raise bad_inputs(problems, n_inputs)
        return np.concatenate(parts) if parts else np.zeros((0, self._task.n_outputs), np.float32)

    def batches(
        self,
        inputs: Any,
        *,
        batch_size: int = BATCH_SIZE,
        read: Callable[[Any], Any] | None = None,
    ) -> Iterator[Batch]:
        """Yields the inputs in batches; only one batch is in memory at a time.

        Args:
            inputs: As for :meth:`predict`.
            batch_size: Inputs a forward pass, >= 1.
            read: Makes what :meth:`predict` takes of each input; it may raise a DataError.

        Raises:
            ConfigError: ``batch_size`` is less than 1.
        """
        first = 0
        for raws in chunks(inputs, batch_size):
            indices, prepared, problems = self._prepare(raws, first, read)
            first += len(raws)
            yield Batch(indices, prepared, self._output(prepared), problems)

    def predictions(self, batch: Batch, top_k: int | None = None) -> list[Prediction]:
        """Returns a prediction for each usable input of a batch.

        Raises:
            ConfigError: ``top_k`` is less than 1.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {top_k}.")
        names = self.class_names
        if self.kind == "pixels":
            restored = map(self._restored, batch.output, batch.prepared)
            return [predict_pixels(mask, names, top_k) for mask in restored]
        one = predict_classes if self.kind == "classes" else predict_labels
        return [one(probs, names, top_k) for probs in batch.output]

    def probs(self, images: Tensor) -> Tensor:
        """Returns probabilities of the network's own inputs, on its device; no gradients.

        Args:
            images: (N, ...) float32.
        """
        with torch.inference_mode():
            return self._task.probs(self._model(images.to(self.device))).float()

    def _prepare(
        self, raws: Sequence[Any], first: int, read: Callable[[Any], Any] | None = None
    ) -> tuple[tuple[int, ...], tuple[Any, ...], tuple[tuple[int, str], ...]]:
        """Returns place and content of the usable inputs, and the problems of the others."""
        usable: list[tuple[int, Any]] = []
        problems: list[tuple[int, str]] = []
        for index, raw in enumerate(raws, start=first):
            try:
                content = raw if read is None else read(raw)
                usable.append((index, self.preprocessing.prepare(content)))
            except DataError as error:
                problems.append((index, str(error).rstrip(".")))
        indices = tuple(index for index, _ in usable)
        return indices, tuple(content for _, content in usable), tuple(problems)

    def _output(self, prepared: tuple[Any, ...]) -> NDArray[Any]:
        if not prepared:
            return np.zeros((0, self._task.n_outputs), np.float32)
        probs = self.probs(self.preprocessing.stack(prepared))
        if self.kind == "pixels":  # before it leaves the device: K times less to move and keep
            return probs.argmax(1).to(torch.uint8).cpu().numpy()
        return probs.cpu().numpy()

    def _restored(self, mask: NDArray[Any], prepared: Any) -> NDArray[np.uint8]:
        if isinstance(self.preprocessing, ImageInputs) and isinstance(prepared, PreparedImage):
            mask = self.preprocessing.restore(mask, prepared)
        return mask


def _task(description: Mapping[str, Any]) -> Task:
    metric = str(description.get("metric", "accuracy"))
    try:
        n_outputs = int(description["spec"]["n_outputs"])
        makers: dict[str, type[Any]] = {
            "accuracy": Multiclass,
            "roc_auc": MultiLabel,
            "miou": PerPixel,
        }
        task: Task = makers[metric](n_outputs)
    except (KeyError, TypeError, ValueError) as failure:
        raise ConfigError(
            f"The model's description is damaged: metric {metric!r}, spec "
            f"{description.get('spec')!r}. Register the model again."
        ) from failure
    return task
