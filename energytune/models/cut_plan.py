"""Where the cut of a network without sequential blocks lies, and whether it holds.

The cut for the last k blocks is the input of the module that is entered first of those that hold
parameters of the k-th last block and of no earlier one. That is the block itself, or a whole
stage that begins with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from energytune.errors import CutError
from energytune.models.blocks import BlockLayout, block_layout
from energytune.models.trace import Recording, Step, record, watch
from energytune.models.verify_cut import noise_image, verify_cut

__all__ = ["CutPlan", "CutPlanner", "tail_state_names"]

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
        batch_bound: Whether the forward pass counts its inputs before the cut and uses that number
            behind it, so that as many inputs must be on record as are resumed.
    """

    path: str
    tail_state_names: frozenset[str]
    tail_modules: frozenset[str]
    recording: Recording
    z_shape: torch.Size
    copies_input: bool
    batch_bound: bool


class CutPlanner:
    """Finds and tests the cuts of one network.

    A network whose last block can't be cut off, as within DenseNet's dense blocks, is cut between
    whole stages if that holds; its depths then count stages.

    Attributes:
        n_blocks: Number of blocks, or stages; 0 if the network does not tell them.
        stages: Whether whole stages are counted.
        max_depth: Number of last blocks up to which a cut was found.
        problem: Why there are not more; empty if every block can be cut off.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, ...]) -> None:
        """Watches one forward pass of ``module`` and tests its last cut."""
        self._module = module
        self._shape = input_shape
        self._plans: dict[int, CutPlan] = {}
        self._paths: list[str] = []
        self.n_blocks, self.stages, self.max_depth = 0, False, 0
        try:
            fine = block_layout(module)
            self._steps = watch(module, noise_image(1, input_shape, seed=0))
        except CutError as refused:
            self.problem = str(refused)
            return
        self.problem = self._search(fine)
        if self.max_depth == 0:
            self._try_stages(fine)

    def _try_stages(self, fine: BlockLayout) -> None:
        """Counts stages in place of the blocks of ``fine``, if they can be parted."""
        try:
            coarse = block_layout(self._module, coarse=True)
        except CutError:
            return
        if coarse.group_of == fine.group_of:
            return
        problem = self._search(coarse)
        if self.max_depth:
            self.stages, self.problem = True, problem
        else:
            self.n_blocks = len(fine.blocks)

    def _search(self, layout: BlockLayout) -> str:
        """Looks for cuts between the blocks of ``layout``; returns why there are not more."""
        self._layout = layout
        self._plans, self._paths, self.max_depth = {}, [], 0
        self.n_blocks = len(layout.blocks)
        problem = ""
        try:
            for first_group in reversed(layout.blocks):
                self._paths.append(_find_cut(layout, self._steps, first_group))
        except CutError as refused:
            problem = str(refused)
        if self._paths:
            try:
                self.plan(1)
                self.max_depth = len(self._paths)
            except CutError as refused:
                problem = str(refused)
        return problem

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
            traits = verify_cut(self._module, path, names, modules, self._shape)
            cut = self._module.get_submodule(path)
            with torch.no_grad():
                recording, z = record(self._module, cut, noise_image(1, self._shape, seed=0))
            self._plans[depth] = CutPlan(
                path,
                names,
                modules,
                recording,
                z.shape[1:],
                copies_input=traits.copies_input,
                batch_bound=traits.batch_bound,
            )
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
