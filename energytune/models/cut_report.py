"""What ``reinit_depth`` can be for an architecture, found by trying every depth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from energytune.errors import CutError, EnergyTuneError
from energytune.models.backbone import Backbone, create_backbone
from energytune.models.cut import sequential_blocks
from energytune.models.cut_plan import CutPlanner

__all__ = [
    "PAGE_HEADER",
    "CutReport",
    "depth_ranges",
    "markdown_table",
    "report_backbone",
    "report_cuts",
]

PAGE_HEADER = """# Where backbones are cut

<!-- Written by `make cuts`, which runs `energytune backbones --cuts --markdown`. Run it again
instead of editing this page. -->

`reinit_depth = k` reinitialises the last k blocks of a backbone and probes them together with the
head. Below is one small architecture of each family, built with random weights; every depth was
tried, by resuming the network with a stored input while another image was on record. A depth holds
if the output is exactly that of the stored input, in evaluation mode and in training. What does
not hold is refused with the reason when it is asked for.

`energytune backbones NAME --cuts` tells the same of any other timm or torchvision model. Stages are
counted where smaller blocks can't be parted. Images are small to be quick.
"""
"""What stands above the table of ``docs/cuts.md``."""

_COLUMNS = ("backbone", "input", "blocks", "depths that hold", "cut at depth 1", "why not more")


@dataclass(frozen=True)
class CutReport:
    """Where an architecture can be cut.

    Attributes:
        name: Name of the backbone.
        input_shape: Shape of one input with which it was tried; empty if it can't be built.
        n_blocks: Number of its blocks, >= 0; 0 if it does not tell them.
        stages: Whether these are whole stages, as smaller blocks can't be parted.
        depths: The depths that hold, ascending, each >= 1.
        first_cut: Name of the module whose input is the cut at depth 1; empty without one.
        problem: Why not every depth holds; empty if all do.
    """

    name: str
    input_shape: tuple[int, ...]
    n_blocks: int
    stages: bool
    depths: tuple[int, ...]
    first_cut: str
    problem: str

    def cells(self) -> tuple[str, ...]:
        """Returns the columns of the table, as :func:`markdown_table` names them."""
        blocks = f"{self.n_blocks} stages" if self.stages else str(self.n_blocks)
        return (
            self.name,
            " x ".join(map(str, self.input_shape)) or "-",
            blocks,
            depth_ranges(self.depths) or "none",
            self.first_cut or "-",
            self.problem or "-",
        )


def report_cuts(name: str, side: int | None = None) -> CutReport:
    """Tries every depth of a backbone with random weights; nothing is downloaded.

    Args:
        name: Name of the backbone.
        side: Height and width of the images in pixels; None: what the model was made for.
            Smaller images make it faster.

    Returns:
        The report; what can't be built with such images is reported, not raised.

    Raises:
        UnknownNameError: If there is no such backbone.
    """
    shape = None if side is None else (3, side, side)
    try:
        backbone = create_backbone(name, weights="none", input_shape=shape)
    except LookupError:
        raise
    except EnergyTuneError as refused:
        return CutReport(name, shape or (), 0, False, (), "", str(refused).splitlines()[0])
    return report_backbone(backbone)


def report_backbone(backbone: Backbone) -> CutReport:
    """Tries every depth of a backbone."""
    name, shape = backbone.name, backbone.input_shape
    if (blocks := sequential_blocks(backbone.module)) is not None:
        depths = tuple(range(1, len(blocks) + 1))
        return CutReport(name, shape, len(blocks), False, depths, f"blocks.{len(blocks) - 1}", "")
    planner = CutPlanner(backbone.module, shape)
    held, problems = [], []
    for depth in range(1, planner.max_depth + 1):
        try:
            planner.plan(depth)
            held.append(depth)
        except CutError as refused:
            problems.append(f"depth {depth}: {refused}")
    problem = planner.problem.partition(": give it")[0] or next(iter(problems), "")
    first = planner.plan(1).path if planner.max_depth else ""
    return CutReport(name, shape, planner.n_blocks, planner.stages, tuple(held), first, problem)


def depth_ranges(depths: Iterable[int]) -> str:
    """Returns ascending depths as ranges: 1, 2, 3, 5 is "1-3, 5"; empty without any."""
    runs: list[list[int]] = []
    for depth in depths:
        if runs and depth == runs[-1][1] + 1:
            runs[-1][1] = depth
        else:
            runs.append([depth, depth])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def markdown_table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Returns the lines of a Markdown table of :meth:`CutReport.cells`."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|" + " --- |" * len(_COLUMNS)]
    for row in rows:
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    return lines
