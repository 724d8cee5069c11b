"""The paper's Figure 16: an overparameterised linear model after finetuning, against q_0.

Draws the change of the backbone as the prediction q_0 = c Y before finetuning goes from the
targets (c = 1) to 0: squared distance, dot product, squared norm, angle. Lines are theory, the
paper's (Appendix D) and that of gradient flow; dots are real gradient descent on B and v from
random problems of several widths. All heads of a problem have one norm, which keeps the kernel
fixed while q_0 varies; it is chosen for one share of the head in the kernel, on which alone the
theory's curves depend.

    python -m benchmarks.paper.fig16_linear_theory                 # about a minute
    python -m benchmarks.paper.fig16_linear_theory --seeds 2 --rate 0.1 --out fig16
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small matrices

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from energytune.report.style import COLOURS, MARKERS, save_figure
from energytune.science import (
    LinearAdaptation,
    LinearKernel,
    adaptation_phase,
    flow_adaptation,
    head_share,
    head_with_outputs,
    linear_adaptation,
    linear_kernel,
)

WIDTHS = (16, 64, 256, 1024)
SHARES = tuple(round(1 - i / 8, 3) for i in range(9))
N_SAMPLES, N_INPUTS = 8, 32
QUANTITIES = ("distance", "dot", "norm", "angle")
TITLES = (
    r"squared distance  $\|B_T - B_0\|^2$",
    r"dot product  $\langle B_T, B_0\rangle - \|B_0\|^2$",
    r"squared norm  $\|B_T\|^2 - \|B_0\|^2$",
    r"angle between $B_T$ and $B_0$, times $\|B_0\|$",
)
THEORIES = ("paper", "flow")


@dataclass(frozen=True)
class Row:
    """One finetuning run beside both theories.

    All quantities are in units of Y^T K^{-1} Y (the angle of its root), which puts all widths on
    one scale. ``phase`` is the paper's, ``rho`` the head's share of the kernel.
    """

    width: int
    seed: int
    share: float
    phase: int
    rho: float
    steps: int
    residual: float
    gd_distance: float
    gd_dot: float
    gd_norm: float
    gd_angle: float
    paper_distance: float
    paper_dot: float
    paper_norm: float
    paper_angle: float
    flow_distance: float
    flow_dot: float
    flow_norm: float
    flow_angle: float


def main() -> None:
    """Runs gradient descent, writes rows, summary and figure, and prints the summary."""
    options = parse()
    started = perf_counter()
    rows = [
        row
        for width in options.widths
        for seed in range(options.seeds)
        for row in finetuned(width, seed, options.head_share, options.rate)
    ]
    summary = summarise(rows)
    write_csv(options.out / "fig16_linear_theory.csv", [asdict(row) for row in rows])
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    head = metadata(
        settings=settings | {"n_samples": N_SAMPLES, "n_inputs": N_INPUTS},
        wall_s=round(perf_counter() - started, 1),
    )
    write_json(options.out / "fig16_linear_theory.json", {**head, "summary": summary})
    save_figure(drawn(rows, options.head_share), options.out / "fig16_linear_theory.png")
    print_summary(summary)
    print(f"\n{options.out / 'fig16_linear_theory.png'}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of random problems, from 0")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument(
        "--head-share",
        type=float,
        default=0.5,
        help="the head's share rho of the kernel, in (0, 1)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0.02,
        help="learning rate of gradient descent, in parts of 1 / (largest eigenvalue of K)",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "paper", help="folder")
    return parser.parse_args()


def finetuned(width: int, seed: int, rho: float, rate: float) -> list[Row]:
    """Finetunes one random problem from every share, at once."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((N_SAMPLES, N_INPUTS), (N_SAMPLES,), (width, N_INPUTS), (width,))
    x, y, b, along = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    shares = torch.tensor(SHARES, dtype=torch.float64)
    norm = norm_of_head(x, y, b, rho)
    heads = torch.stack([head_with_outputs(x, b, share * y, norm, along) for share in shares])
    kernel, before = linear_kernel(x, b, heads[0]), float(b.square().sum())
    unit = float(y @ kernel.solve(y))
    b_t, steps, residuals = descend(x, y, b, heads, rate, kernel)
    moved = b_t - b
    distance, dot = moved.square().sum(dim=(1, 2)), (moved * b).sum(dim=(1, 2))
    real = LinearAdaptation(distance, before + dot, before + 2 * dot + distance, before)
    outputs = shares[:, None] * y
    columns = {
        f"{source}_{name}": values.tolist()
        for source, adaptation in (
            ("gd", real),
            ("paper", linear_adaptation(outputs, y, kernel, before)),
            ("flow", flow_adaptation(outputs, y, kernel, before)),
        )
        for name, values in zip(QUANTITIES, in_units(adaptation, unit), strict=True)
    }
    return [
        Row(
            width=width,
            seed=seed,
            share=share,
            phase=int(adaptation_phase(share * y, y, kernel)),
            rho=head_share(y, kernel),
            steps=steps,
            residual=float(residuals[i]),
            **{name: values[i] for name, values in columns.items()},
        )
        for i, share in enumerate(SHARES)
    ]


def norm_of_head(x: Tensor, y: Tensor, backbone: Tensor, rho: float) -> float:
    """Returns the ||v_0|| at which the head has the share rho of the kernel, by bisection."""
    of_head, of_backbone = x @ backbone.t() @ backbone @ x.t(), x @ x.t()
    low, high = -10.0, 10.0  # powers of ten
    for _ in range(60):
        middle = (low + high) / 2
        share = head_share(y, LinearKernel(of_head, 100**middle * of_backbone))
        low, high = (middle, high) if share > rho else (low, middle)
    return float(10**low)


def descend(
    x: Tensor, y: Tensor, backbone: Tensor, heads: Tensor, rate: float, kernel: LinearKernel
) -> tuple[Tensor, int, Tensor]:
    """Returns B_T of plain gradient descent from every head (S, h), steps, relative residuals."""
    step = rate / float(torch.linalg.eigvalsh(kernel.total)[-1])
    b, v = backbone.expand(len(heads), -1, -1).clone(), heads
    limit, steps = 1e-6 * float(y.norm()), 0
    while True:
        residual = y - torch.einsum("shd,sh->sd", b, v) @ x.t()
        if float(residual.norm(dim=1).max()) <= limit:
            return b, steps, residual.norm(dim=1) / y.norm()
        pull = step * (residual @ x)
        v_next = v + torch.einsum("shd,sd->sh", b, pull)
        b += v[:, :, None] * pull[:, None, :]
        v, steps = v_next, steps + 1


def in_units(adaptation: LinearAdaptation, unit: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the four quantities as drawn."""
    before = adaptation.squared_norm_before
    # arccos of a cosine near 1 is rounding; distance and norms give the sine of half the angle
    gap = adaptation.squared_distance - (adaptation.squared_norm.sqrt() - before**0.5).square()
    product = 4 * adaptation.squared_norm.sqrt() * before**0.5
    angle = 2 * torch.asin((gap.clamp_min(0) / product).sqrt())
    return (
        adaptation.squared_distance / unit,
        (adaptation.dot - before) / unit,
        (adaptation.squared_norm - before) / unit,
        angle * (before / unit) ** 0.5,
    )


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Returns, by width, the mean error of each theory in each quantity, in units of the figure."""
    return {
        f"h={width}": {
            f"{theory}_{name}": fmean(
                abs(getattr(row, f"{theory}_{name}") - getattr(row, f"gd_{name}"))
                for row in rows
                if row.width == width
            )
            for theory in THEORIES
            for name in QUANTITIES
        }
        for width in sorted({row.width for row in rows})
    }


def print_summary(summary: dict[str, dict[str, float]]) -> None:
    """Prints one line a width and theory."""
    print("mean |theory - gradient descent|, in units of Y^T K^-1 Y (angle: of its root)\n")
    print(f"{'width':>8} {'theory':>7} " + " ".join(f"{name:>9}" for name in QUANTITIES))
    for width, errors in summary.items():
        for theory in THEORIES:
            cells = " ".join(f"{errors[f'{theory}_{name}']:9.2e}" for name in QUANTITIES)
            print(f"{width:>8} {theory:>7} {cells}")


def drawn(rows: Sequence[Row], rho: float) -> Figure:
    """Returns the four panels."""
    figure = Figure(figsize=(9.5, 7.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for axes, name, title in zip(panels.flat, QUANTITIES, TITLES, strict=True):
        draw_theory(axes, name, rho)
        draw_descent(axes, rows, name)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(top=1.1 * axes.get_ylim()[1])
        shade_phases(axes, rho)
        axes.set_xlim(1.03, -0.03)
    for axes in panels[1]:
        axes.set_xlabel(r"$q_0 / Y$: from converged (1) to none (0)")
    for axes in panels.flat[:3]:
        axes.set_ylabel(r"in units of $Y^\top K^{-1} Y$")
    panels[1, 1].set_ylabel(r"in units of $(Y^\top K^{-1} Y)^{1/2}$")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8.5)
    n_seeds = len({row.seed for row in rows})
    figure.suptitle(
        f"Finetuning a linear model: theory and gradient descent ({n_seeds} problems a width)"
    )
    return figure


def draw_theory(axes: Axes, name: str, rho: float) -> None:
    """Draws both theories: in the figure's units those of one sample with K = 1 and Y = 1."""
    one = torch.ones(1, 1, dtype=torch.float64)
    kernel, shares = LinearKernel(rho * one, (1 - rho) * one), torch.linspace(0, 1, 101)
    for label, dashes, predict in (
        ("Appendix D (linearised)", "--", linear_adaptation),
        ("gradient flow", "-", flow_adaptation),
    ):
        # a backbone so large that its angles are small, as they are in a wide one
        adaptation = predict(shares[:, None], torch.ones(1), kernel, 1e8)
        values = dict(zip(QUANTITIES, in_units(adaptation, 1.0), strict=True))[name]
        axes.plot(shares, values, dashes, color="#555555", linewidth=1.4, label=label)


def draw_descent(axes: Axes, rows: Sequence[Row], name: str) -> None:
    """Draws gradient descent by width, side by side."""
    shares = sorted({row.share for row in rows})
    widths = sorted({row.width for row in rows})
    for i, width in enumerate(widths):
        of_share = [
            [getattr(r, f"gd_{name}") for r in rows if (r.width, r.share) == (width, share)]
            for share in shares
        ]
        axes.errorbar(
            [share + 0.012 * (i - (len(widths) - 1) / 2) for share in shares],
            [fmean(values) for values in of_share],
            yerr=[stdev(values) if len(values) > 1 else 0.0 for values in of_share],
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            linestyle="none",
            markersize=4,
            linewidth=1,
            label=f"gradient descent, h = {width} (mean, SD)",
        )


def shade_phases(axes: Axes, rho: float) -> None:
    """Shades the phases of the paper's Table 9, by the share of the head in the kernel."""
    edges = (1.03, 0.5, rho / (1 + rho), -0.03)
    for i, (left, right) in enumerate(pairwise(edges)):
        axes.axvspan(right, left, color=COLOURS[4], alpha=(0.05, 0.13, 0.22)[i], linewidth=0)
        axes.text(
            (left + right) / 2,
            0.98,
            f"phase {i + 1}",
            ha="center",
            va="top",
            fontsize=8,
            transform=axes.get_xaxis_transform(),
        )


if __name__ == "__main__":
    main()
