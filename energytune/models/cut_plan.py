"""Where the cut of a network without sequential blocks lies, and whether it holds.

The cut for the last k blocks is the input of the module that is entered first of those that hold
parameters of the k-th last block and of no earlier one. That is the block itself, or a whole
stage that begins with it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models.blocks import BlockLayout, block_layout
from energytune.models.trace import (
    Recording,
    Step,
    record,
    resume_at,
    stop_at,
    watch,
)

__all__ = ["CutPlan", "CutPlanner", "tail_state_names"]

_NOISE = 0.02
"""Standard deviation added to every weight while a cut is tested. Blocks often start with a
branch scaled by zero, through which a wrong cut would not show."""

Side = Literal["prefix", "tail"]


@dataclass(frozen=True)
class CutPlan:
    """A tested cut, valid for every network of the same architecture.

    Attributes:
        path: Name of the module whose input is the cut.
        tail_state_names: Parameters and buffers of the tail.
        tail_modules: Names of the modules that the tail runs and the prefix does not finish.
        recording: How to get to the cut with an input of the usual shape.
        z_shape: Shape of what flows through the cut, without the batch.
        copies_input: Whether the tail changes its input in place, so that it needs a copy.
    """

    path: str
    tail_state_names: frozenset[str]
    tail_modules: frozenset[str]
    recording: Recording
    z_shape: torch.Size
    copies_input: bool


class CutPlanner:
    """Finds and tests the cuts of one network.

    Attributes:
        max_depth: Number of last blocks up to which a cut was found.
        problem: Why there are not more; empty if every block can be cut off.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...]) -> None:
        """Watches one forward pass of ``module`` and tests its last cut."""
        self._module = module
        self._shape = input_shape
        self._plans: dict[int, CutPlan] = {}
        self._paths: list[str] = []
        self.problem = ""
        try:
            self._layout = block_layout(module)
            self._steps = watch(module, _noise_image(1, input_shape, seed=0))
            for first_group in reversed(self._layout.blocks):
                self._paths.append(_find_cut(self._layout, self._steps, first_group))
        except CutError as refused:
            self.problem = str(refused)
        self.max_depth = len(self._paths)
        if self._paths:
            try:
                self.plan(1)
            except CutError as refused:
                self.max_depth = 0
                self.problem = str(refused)

    def plan(self, depth: int) -> CutPlan:
        """Returns the tested cut before the last ``depth`` blocks, 1 <= depth <= max_depth.

        Raises:
            CutError: If the test shows that the cut does not hold.
        """
        if depth not in self._plans:
            path = self._paths[depth - 1]
            first_group = self._layout.blocks[-depth]
            names = tail_state_names(self._module, self._layout, first_group)
            modules = _tail_modules(self._module, self._layout, self._steps, path, first_group)
            copies_input = _test_cut(self._module, path, names, self._shape)
            cut = self._module.get_submodule(path)
            with torch.no_grad():
                recording, z = record(self._module, cut, _noise_image(1, self._shape, seed=0))
            self._plans[depth] = CutPlan(path, names, modules, recording, z.shape[1:], copies_input)
        return self._plans[depth]


def _find_cut(layout: BlockLayout, steps: list[Step], first_group: int) -> str:
    """Returns the name of the module whose input is the cut before ``first_group``.

    Raises:
        CutError: If the network does not run its blocks in order, or a block is no module.
    """
    entered = (
        index
        for index, step in enumerate(steps)
        if step.kind == "enter" and (layout.span(step.path) or (None,))[0] == first_group
    )
    cut_at = next(entered, None)
    if cut_at is None:
        raise CutError(f"no module holds block {first_group} and nothing of the blocks before it")
    path = steps[cut_at].path
    for index, step in enumerate(steps):
        low, high = layout.span(step.path) or (first_group, -1)
        if index < cut_at and step.kind == "leave" and high >= first_group:
            raise CutError(f"{step.path!r} runs before {path!r} but belongs behind it")
        if index > cut_at and step.kind == "enter" and low <= high < first_group:
            raise CutError(f"{step.path!r} runs after {path!r} but belongs before it")
    return path


def tail_state_names(module: nn.Module, layout: BlockLayout, first_group: int) -> frozenset[str]:
    """Returns the names of the tail's parameters, and of the buffers that belong to them."""
    names = module.state_dict().keys() | layout.group_of.keys()
    return frozenset(name for name in names if layout.first_group(name) >= first_group)


def _tail_modules(
    module: nn.Module, layout: BlockLayout, steps: list[Step], cut_path: str, first_group: int
) -> frozenset[str]:
    """Returns the names of all modules whose training mode is the tail's.

    These hold only parameters of the tail, or lie within such a module, or run after the cut
    (dropout in front of a head), or contain both sides (the root).
    """
    cut_at = next(i for i, step in enumerate(steps) if step == Step("enter", cut_path))
    finished = {step.path for step in steps[:cut_at] if step.kind == "leave"}
    runs_later = {step.path for step in steps[cut_at:]} - finished
    return frozenset(
        path
        for path, _ in module.named_modules()
        if layout.first_group(path) >= first_group or path in runs_later
    )


def _test_cut(
    module: nn.Module, path: str, tail_names: frozenset[str], shape: tuple[int, ...]
) -> bool:
    """Tests a cut by resuming with a stored input while another image is on record.

    The output must be exactly that of the stored input, and no parameter of the prefix may act
    on it through what was recorded.

    Returns:
        Whether the tail changes its input in place.

    Raises:
        CutError: If the cut does not hold.
    """
    subject = copy.deepcopy(module).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in subject.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=_NOISE)
    for parameter in subject.parameters():
        parameter.requires_grad_(True)
    cut = subject.get_submodule(path)
    images = _noise_image(2, shape, seed=1)
    # all with gradients: without them attention runs other kernels, equal only up to rounding
    expected = subject(images)
    z = stop_at(subject, cut, images).detach()
    recording, _ = record(subject, cut, _noise_image(1, shape, seed=2))
    stored = z.clone()
    version = stored._version
    try:
        output = resume_at(subject, cut, stored, recording)
    except (RuntimeError, ValueError, IndexError) as failure:
        raise CutError(f"resuming at {path!r} fails: {failure}") from failure
    if not torch.equal(output, expected):
        raise CutError(f"what comes after {path!r} also depends on what was computed before it")
    before = {name: p for name, p in subject.named_parameters() if name not in tail_names}
    if used := _reached(output, before):
        # read where it is, a parameter is up to date (a class token); a recorded value is not
        detached = resume_at(subject, cut, z.clone(), recording.detach())
        if stale := sorted(used - _reached(detached, before)):
            raise CutError(f"what comes after {path!r} also uses a result of {stale[0]!r}")
    return bool(stored._version != version)


def _reached(output: Tensor, parameters: dict[str, nn.Parameter]) -> set[str]:
    """Returns the names of the parameters on which ``output`` depends."""
    if not parameters or not output.requires_grad:
        return set()
    gradients = torch.autograd.grad(
        output.square().sum(), list(parameters.values()), allow_unused=True
    )
    return {name for name, grad in zip(parameters, gradients, strict=True) if grad is not None}


def _noise_image(n_images: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Returns standard normal inputs, (n_images, *shape) float32."""
    return torch.randn(n_images, *shape, generator=torch.Generator().manual_seed(seed))
