"""The cut of a network whose forward pass is its own business: stopped and resumed by hooks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models.cut_plan import CutPlan
from energytune.models.trace import Recording, record, resume_at, stop_at

__all__ = ["HookCut"]

_N_BATCH_SIZES = 2
"""Of a cut that is bound to the batch size, recordings for so many are kept: full and last."""


class HookCut:
    """A network stopped at the input of one of its modules, and resumed there.

    Nothing stays hooked between calls, so the network itself runs as it always does.

    Attributes:
        tail_state_names: Names in the module's ``state_dict`` that belong to the tail.
        tail_modules: None; how the tail is run is known to the forward of the module only.
    """

    def __init__(self, module: nn.Module, plan: CutPlan) -> None:
        """Cuts ``module`` according to a plan made for its architecture."""
        self.tail_state_names = plan.tail_state_names
        self.tail_modules: tuple[nn.Module, ...] | None = None
        self._plan = plan
        self._module = module
        self._cut = module.get_submodule(plan.path)
        self._tail_modules = [module.get_submodule(path) for path in sorted(plan.tail_modules)]
        self._known_inputs = {plan.recording.x.shape[1:]}
        self._recordings: dict[torch.Size, Recording] = {plan.z_shape: plan.recording}
        self._by_batch: dict[torch.Size, Recording] = {}

    def prefix(self, x: Tensor) -> Tensor:
        """Returns what flows through the cut, (N, ...); stops there.

        Inputs of another shape than the usual one are recorded when first seen.
        """
        z = stop_at(self._module, self._cut, x)
        if x.shape[1:] not in self._known_inputs:
            with torch.no_grad():
                recording, _ = record(self._module, self._cut, x[:1].detach().clone())
            self._recordings[z.shape[1:]] = recording
            self._known_inputs.add(x.shape[1:])
        return z

    def resume(self, z: Tensor) -> Tensor:
        """Returns features (N, D); runs what comes after the cut only.

        Raises:
            CutError: If ``z`` belongs to inputs of a shape that was never seen.
        """
        recording = self._recordings.get(z.shape[1:])
        if recording is None:
            raise CutError(
                f"features at the cut must have one of the shapes "
                f"{[tuple(shape) for shape in self._recordings]}, got {tuple(z.shape[1:])}. "
                "Run the prefix once on inputs of the wanted size first."
            )
        if recording.x.device != z.device:
            recording = recording.to(z.device)
            self._recordings[z.shape[1:]] = recording
        if self._plan.batch_bound:
            recording = self._at_batch_size(z, recording)
        if self._plan.copies_input:
            z = z.clone()
        return resume_at(self._module, self._cut, z, recording)

    def _at_batch_size(self, z: Tensor, recording: Recording) -> Recording:
        """Returns a recording of as many inputs as there are in ``z``; runs the prefix if new."""
        known = self._by_batch.pop(z.shape, None)
        if known is None or known.x.device != z.device:
            x = recording.x.expand(len(z), *recording.x.shape[1:])
            with torch.no_grad():
                known, _ = record(self._module, self._cut, x)
        self._by_batch[z.shape] = known
        while len(self._by_batch) > _N_BATCH_SIZES:
            del self._by_batch[next(iter(self._by_batch))]
        return known

    def values(self, z: Tensor) -> Tensor:
        """Returns ``z`` itself."""
        return z

    def train_tail(self, train: bool) -> None:
        """Puts the prefix into evaluation mode and the tail into training mode or not."""
        self._module.eval()
        for part in self._tail_modules:
            part.training = train
