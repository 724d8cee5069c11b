"""Features straight from the frozen part of a network: streamed, collected, or for some samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from energytune.config import EngineConfig
from energytune.data import Split
from energytune.models import TaskModel
from energytune.seeds import derive_seed
from energytune.training.engine import forward_of
from energytune.training.features_layer import non_finite_error
from energytune.training.feeding import device_batches
from energytune.training.micro_batch import PiecewiseForward

__all__ = ["FeatureSource", "extract_features", "stream_features"]


class FeatureSource:
    """What gives the features of one split at one cut, view by view.

    Args:
        make_model: Builds the model whose prefix gives the features; called when first needed.
        split: The samples.
        name: The split's name, for messages: ``"train"``.
        depth: ``reinit_depth`` of the cut, for messages.
        n_views: 1 for the evaluation transform only, V > 1 for V augmented views beside it.
        batch_size: Samples a forward pass.
        device: Where the forward passes run.
        engine: Its precision is that of the forward passes.
    """

    def __init__(
        self,
        make_model: Callable[[], TaskModel],
        split: Split,
        *,
        name: str,
        depth: int,
        n_views: int,
        batch_size: int,
        device: torch.device,
        engine: EngineConfig = EngineConfig(),  # noqa: B008 - it is frozen
    ) -> None:
        self._make_model, self._engine = make_model, engine
        self.split, self.name, self.depth, self.n_views = split, name, depth, n_views
        self.batch_size, self.device = batch_size, device

    @cached_property
    def model(self) -> TaskModel:
        """The model, on the device and in evaluation mode."""
        # convolutions and pooling are about a tenth faster with the channels last
        model = self._make_model().to(self.device).eval()
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return model

    @cached_property
    def _forward(self) -> PiecewiseForward:
        return PiecewiseForward(forward_of(self.model.features, self._engine, self.device))

    @cached_property
    def item_shape(self) -> torch.Size:
        """Shape of one sample's features, from one forward of one sample."""
        (features,) = self.batches(indices=torch.tensor([0]))
        return features.shape[1:]

    @property
    def stored_views(self) -> range:
        """The views that a store holds: 0, and 1..V if there are augmented ones."""
        return range(1 if self.n_views == 1 else 1 + self.n_views)

    def batches(self, *, view: int = 0, indices: Tensor | None = None) -> Iterator[Tensor]:
        """Yields features, (B, ...) float32 on the device.

        Args:
            view: 0 for the evaluation transform, 1..V for the augmented views.
            indices: (M,) int64 on the CPU; None is all samples in order.

        Raises:
            DataError: If a feature is NaN or infinite; names sample and layer.
        """
        order = torch.arange(len(self.split)) if indices is None else indices
        seed, done = derive_seed("view", view), 0
        for inputs, _, _ in device_batches(
            self.split,
            self.batch_size,
            device=self.device,
            order=indices,
            augment=view > 0,
            seed=seed,
        ):
            with torch.no_grad():
                features = self._forward(inputs).float().contiguous()
            among = order[done : done + len(inputs)]
            # One sum is cheaper than a mask, and no finite sum hides a NaN or infinity.
            if not bool(torch.isfinite(features.sum())) and not bool(
                torch.isfinite(features).all()
            ):
                raise non_finite_error(
                    self.model, self.split, among, name=self.name, augment=view > 0, seed=seed
                )
            done += len(inputs)
            yield features


def stream_features(
    model: TaskModel,
    split: Split,
    *,
    batch_size: int,
    device: torch.device,
    engine: EngineConfig = EngineConfig(),  # noqa: B008 - it is frozen
) -> Iterator[Tensor]:
    """Yields the features of all samples at the model's cut, in order, (B, ...) float32.

    The whole model is in evaluation mode while this runs, so that batch norm and dropout neither
    drift nor draw; inputs are not augmented.

    Args:
        model: Its prefix gives the features; moved to ``device``.
        split: Samples, taken in the split's order.
        batch_size: Samples a forward pass.
        device: Where the forward passes run and the features lie.
        engine: Its precision is that of the forward passes.
    """
    model.to(device).eval()
    forward = PiecewiseForward(forward_of(model.features, engine, device))
    for inputs, _, _ in device_batches(split, batch_size, device=device):
        with torch.no_grad():
            features = forward(inputs).float()
        yield features


def extract_features(
    model: TaskModel, split: Split, *, batch_size: int, device: torch.device
) -> Tensor:
    """Returns what :func:`stream_features` yields as one tensor, (N, ...) float32 on the CPU."""
    parts = stream_features(model, split, batch_size=batch_size, device=device)
    return torch.cat([part.cpu() for part in parts])
