"""Figures of a search. Each returns a matplotlib ``Figure`` and touches no global state."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from energytune.errors import ConfigError
from energytune.report.charts_accuracy import hump_of
from energytune.report.style import COLOURS, LINES, MARKERS, line_style, percent_axis, tau_axis
from energytune.report.tables import energy_map
from energytune.trial import TrialRecord

__all__ = ["plot_curves", "plot_energy", "plot_energy_map", "plot_tau"]


def plot_tau(records: Sequence[TrialRecord], *, score: str = "accuracy") -> Figure:
    """Plots the finetuned validation accuracy against tau, on a log axis that has 0.

    Args:
        records: Trials of a search; those that are not complete are left out.
        score: What is measured, for a person.

    Raises:
        ConfigError: No trial is complete.
    """
    figure, axes = _figure()
    _scatter(axes, [(float(r.job.recipe.tau), r) for r in _complete(records)], score)
    tau_axis(axes)
    axes.set_title(f"Finetuned {score} against head-probing epochs")
    return figure


def plot_energy(records: Sequence[TrialRecord], *, score: str = "accuracy") -> Figure:
    """Plots the finetuned validation accuracy against the adaptation energy (AIE).

    With enough trials a parabola is fitted, see :mod:`energytune.report.hump`.

    Args:
        records: Trials of a search; those that are not complete are left out.
        score: What is measured, for a person.

    Raises:
        ConfigError: No trial is complete.
    """
    figure, axes = _figure()
    measured = [(r.probe.aie, r) for r in _complete(records) if r.probe is not None]
    hump = hump_of(records)
    if hump.shape != "too few":
        axes.fill_between(hump.x, hump.low, hump.high, color="#BBBBBB", alpha=0.25, zorder=0)
        axes.plot(
            hump.x, hump.y, color="#222222", linestyle="--", zorder=1, label="fitted parabola"
        )
    _scatter(axes, measured, score)
    axes.set_xlabel("adaptation energy after head probing (AIE)")
    axes.set_title(f"Finetuned {score} against adaptation energy")
    return figure


def plot_curves(
    records: Sequence[TrialRecord], n_best: int = 5, *, score: str = "accuracy"
) -> Figure:
    """Plots validation accuracy by finetuning epoch: every trial thin, the best ones in colour.

    Args:
        records: Trials of a search, pruned ones included.
        n_best: Number of complete trials that are named in the legend, >= 1; the baselines are
            always named.
        score: What is measured, for a person.

    Raises:
        ConfigError: No trial has a finetuning epoch.
    """
    drawn = [r for r in records if r.epochs and r.duplicate_of is None]
    if not drawn:
        raise ConfigError("plot_curves needs a trial with a finetuning epoch; there is none yet.")
    ranked = sorted(
        (r for r in drawn if r.objective is not None), key=lambda r: -(r.objective or 0.0)
    )
    named = [r for r in drawn if r.job.role.startswith("baseline")]
    named += [r for r in ranked[:n_best] if r not in named]
    figure, axes = _figure()
    for record in drawn:
        if record not in named:
            axes.plot(*_curve(record), color="#BBBBBB", linewidth=0.7, zorder=1)
    for i, record in enumerate(named):
        axes.plot(
            *_curve(record),
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            label=f"t{record.job.number:03d} {record.job.recipe.label()}",
        )
    percent_axis(axes, f"validation {score} after finetuning")
    axes.set_xlabel("finetuning epoch")
    axes.set_title(f"Validation {score} while finetuning")
    axes.legend(fontsize="small")
    return figure


def plot_energy_map(records: Sequence[TrialRecord], *, score: str = "acc") -> Figure:
    """Plots HP-train-accuracy and AIE against tau, one line a head trajectory.

    Args:
        records: Trials of a search.
        score: What is measured, as in "HP-train-acc".

    Raises:
        ConfigError: No trial has finished its probing.
    """
    frame = energy_map(records)
    if frame.empty:
        raise ConfigError("plot_energy_map needs a trial that has probed; there is none yet.")
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    groups = frame.groupby(["head_arch", "label_smoothing", "reinit_depth"], sort=True)
    for i, ((head, smoothing, depth), lines) in enumerate(groups):
        style = line_style(i)
        name = f"{head} ls={smoothing:g} k={depth}"
        left.plot(lines["tau"], lines["hp_train_acc"], label=name, **style)
        right.plot(lines["tau"], lines["aie"], **style)
    for axes in (left, right):
        tau_axis(axes)
        axes.grid(alpha=0.3)
    percent_axis(left, f"HP-train-{score}")
    right.set_ylabel("adaptation energy (AIE)")
    figure.suptitle("Energy map: what head probing leaves to the backbone")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _complete(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    complete = [r for r in records if r.objective is not None and r.duplicate_of is None]
    if not complete:
        raise ConfigError("The figure needs a complete trial; there is none yet.")
    return complete


def _scatter(axes: Axes, points: Sequence[tuple[float, TrialRecord]], score: str) -> None:
    """Draws one marker a trial, by head and depth, and rings the best."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for x, record in points:
        recipe = record.job.recipe
        name = f"{recipe.head_arch} k={recipe.reinit_depth}"
        groups.setdefault(name, []).append((x, record.objective or 0.0))
    for i, name in enumerate(sorted(groups)):
        xs, ys = zip(*groups[name], strict=True)
        axes.scatter(
            xs,
            ys,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            alpha=0.85,
        )
    best_x, best = max(points, key=lambda point: point[1].objective or 0.0)
    axes.scatter(
        [best_x],
        [best.objective or 0.0],
        s=160,
        facecolors="none",
        edgecolors="#000000",
        label=f"best: t{best.job.number:03d}",
    )
    percent_axis(axes, f"validation {score} after finetuning")
    axes.legend(fontsize="small")


def _curve(record: TrialRecord) -> tuple[list[int], list[float]]:
    return [e.epoch for e in record.epochs], [e.valid_acc for e in record.epochs]
