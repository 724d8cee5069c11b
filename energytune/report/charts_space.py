"""Charts of the search space: the energy map, and all recipes as parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from energytune.config import Recipe, SearchSpace
from energytune.report.chart import MUTED, Axis, Chart, DataTable, Panel, Ruler, Series
from energytune.report.energy_lines import HeadLine, head_lines, head_names
from energytune.report.scales import fit_axis, position, ticks
from energytune.report.thin import ranked, thin, thin_note
from energytune.report.words import percent, short_score, trial_name
from energytune.science.energy_levels import reserved_energy
from energytune.trial import TrialRecord

__all__ = ["map_chart", "parallel_chart"]

_MOST_LINES = 160
_N_BEST = 6
_MOST_TAUS = 9
_MOST_HEADS = 60
_JITTER = 0.012


def map_chart(
    rows: Sequence[Mapping[str, Any]], *, score: str = "HP-train-acc", n_classes: int | None = None
) -> Chart | None:
    """Returns what probing learns and what energy it leaves at each tau; None without a row.

    A pair of panels a depth. Colour and marker tell the label smoothing, dashes the head.

    Args:
        rows: One a head and tau.
        score: Name of the training score.
        n_classes: K of a softmax task, for the energy that smoothing reserves; None names none.
    """
    if not rows:
        return None
    lines = head_lines(pd.DataFrame(list(rows)))
    smoothings = sorted({line.label_smoothing for line in lines})
    heads = sorted({line.head_arch for line in lines})
    top = max(float(line.mean.index.max()) for line in lines)
    most = max(float(line.mean["aie"].max()) for line in lines)
    tau_axis = Axis("tau (head-probing epochs)", "tau", -0.2, max(4.0, 1.3 * top))
    panels = []
    for depth in sorted({line.reinit_depth for line in lines}):
        here = [line for line in lines if line.reinit_depth == depth]
        for column, axis in (
            ("hp_train_acc", Axis(score, "percent", -0.01, 1.02)),
            ("aie", Axis("energy left (AIE)", "linear", 0.0, 1.06 * most or 1.0)),
        ):
            series = [_map_line(line, column, smoothings, heads) for line in here]
            title = f"k={depth}" + (", no block reinitialised" if depth == 0 else "")
            panels.append(Panel(title, tau_axis, axis, tuple(series)))
    return Chart(
        "map",
        "Energy map: what head probing learns, and what energy it leaves",
        _map_finding(lines, score),
        tuple(panels),
        _map_table(lines, score),
        notes=_reserves(smoothings, n_classes),
        size=(400, 270),
    )


def parallel_chart(
    records: Sequence[TrialRecord], space: SearchSpace, *, metric: str = "accuracy"
) -> Chart | None:
    """Returns recipes, their energy and their score as parallel coordinates; None if none ended.

    Args:
        records: Trials of the search; of complete ones the best are drawn strong.
        space: What was searched.
        metric: What was measured.
    """
    complete = [r for r in ranked(records) if r.probe is not None]
    if not complete:
        return None
    drawn = thin(complete, _MOST_LINES)
    score = f"FT-valid-{short_score(metric)}"
    rulers = _rulers(drawn, space, score)
    best = drawn[:_N_BEST]
    series = [
        _recipe_line(r, rulers, "other complete trials", MUTED) for r in reversed(drawn[_N_BEST:])
    ]
    for i, record in reversed(list(enumerate(best))):
        name = f"{i + 1}. {trial_name(record.job)} {percent(record.objective)}"
        series.append(_recipe_line(record, rulers, name, i, strong=i == 0))
    common = _common([r.job.recipe for r in best])
    agree = f"They agree in {common}" if common else "They agree in no dimension"
    return Chart(
        "parallel",
        "Recipes, energy and score",
        f"One line a trial. The best {len(best)} of {len(complete):,} complete trials reach "
        f"{percent(best[-1].objective)} to {percent(best[0].objective)}. {agree}.",
        (
            Panel(
                "",
                Axis("", "none", 0.0, float(len(rulers) - 1)),
                Axis("", "none", 0.0, 1.0),
                tuple(series),
                rulers=tuple(ruler for ruler, _ in rulers),
            ),
        ),
        DataTable(
            f"The best {len(best)} complete trials",
            ("trial", *(ruler.label for ruler, _ in rulers)),
            tuple((trial_name(r.job), *_texts(r)) for r in best),
        ),
        notes=thin_note(len(drawn), len(complete)),
        size=(760, 360),
    )


_Axes = list[tuple[Ruler, Axis]]


def _rulers(drawn: Sequence[TrialRecord], space: SearchSpace, score: str) -> _Axes:
    """Returns the upright axes; each spans what the trials drawn have."""
    recipes = [r.job.recipe for r in drawn]
    heads = sorted({*space.head_arch.choices, *(r.head_arch for r in recipes)})
    smoothings = sorted({r.label_smoothing for r in recipes})
    depths = sorted({r.reinit_depth for r in recipes})
    taus = [r.tau for r in recipes]
    rates = [r.ft_lr for r in recipes]
    factor = 1.0 if max(rates) > 1.05 * min(rates) else 1.5
    axes: list[tuple[str, Axis, Sequence[tuple[float, str]] | None]] = [
        ("tau", Axis("", "tau", min(taus) * 0.99, max(taus) * 1.01 + 1), None),
        ("head", Axis("", "linear", -0.4, len(heads) - 0.6), list(enumerate(heads))),
        ("smoothing", _spanned(smoothings), [(s, f"{s:g}") for s in smoothings[:12]]),
        ("k", _spanned(depths), [(d, str(d)) for d in depths]),
        ("ft_lr", Axis("", "log", min(rates) / factor, max(rates) * factor), None),
        ("AIE", fit_axis("", [r.probe.aie for r in drawn if r.probe]), None),
        (score, fit_axis("", [r.objective or 0.0 for r in drawn], percent=True), None),
    ]
    rulers = []
    for i, (label, axis, given) in enumerate(axes):
        shown = ticks(axis, 5) if given is None else given
        at = tuple((position(axis, value), text) for value, text in shown)
        rulers.append((Ruler(float(i), label, at), axis))
    return rulers


def _spanned(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    return Axis("", "linear", low - room, high + room)


def _recipe_line(
    record: TrialRecord, rulers: _Axes, name: str, style: int, *, strong: bool = False
) -> Series:
    recipe = record.job.recipe
    heads = [text for _, text in rulers[1][0].ticks]
    values = (
        recipe.tau,
        heads.index(recipe.head_arch),
        recipe.label_smoothing,
        recipe.reinit_depth,
        recipe.ft_lr,
        record.probe.aie if record.probe else 0.0,
        record.objective or 0.0,
    )
    # Lines through the same value are set a little apart.
    shift = _JITTER * ((record.job.number * 0.618) % 1 - 0.5)
    discrete = (1, 2, 3)
    at = [
        position(axis, value) + (2.5 * shift if i in discrete else 0.0)
        for i, ((_, axis), value) in enumerate(zip(rulers, values, strict=True))
    ]
    return Series(
        name=name,
        kind="line",
        x=tuple(map(float, range(len(at)))),
        y=tuple(at),
        style=style,
        dash=0 if style == MUTED else style,
        labels=(f"{trial_name(record.job)} {recipe.label()}: {percent(record.objective)}",),
        every=0 if style == MUTED else 1,
        strong=strong,
    )


def _texts(record: TrialRecord) -> tuple[str, ...]:
    recipe = record.job.recipe
    return (
        f"{recipe.tau:,}",
        recipe.head_arch,
        f"{recipe.label_smoothing:g}",
        str(recipe.reinit_depth),
        f"{recipe.ft_lr:g}",
        f"{record.probe.aie:.4f}" if record.probe else "-",
        percent(record.objective),
    )


def _common(recipes: Sequence[Recipe]) -> str:
    """Returns the dimensions in which recipes are equal, with their values."""
    if len(recipes) < 2:
        return ""
    first = recipes[0].to_dict()
    same = [
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in first.items()
        if all(recipe.to_dict()[name] == value for recipe in recipes)
    ]
    return " and ".join([", ".join(same[:-1]), same[-1]]) if len(same) > 1 else "".join(same)


def _map_line(
    line: HeadLine, column: str, smoothings: Sequence[float], heads: Sequence[str]
) -> Series:
    style = smoothings.index(line.label_smoothing)
    smoothing = f"smoothing {line.label_smoothing:g}" if line.label_smoothing else "no smoothing"
    name = f"{line.head_arch} head, {smoothing}"
    taus = [float(tau) for tau in line.mean.index]
    return Series(
        name=name,
        kind="line",
        x=tuple(taus),
        y=tuple(float(value) for value in line.mean[column]),
        style=style,
        dash=heads.index(line.head_arch),
        labels=(f"{name}, k={line.reinit_depth}",),
        every=4 if len(smoothings) > 1 or len(heads) > 1 else 0,
    )


def _map_finding(lines: Sequence[HeadLine], score: str) -> str:
    def told(line: HeadLine, name: str) -> str:
        (first, low), (last, high) = (
            (float(line.mean["aie"].iloc[i]), float(line.mean["hp_train_acc"].iloc[i]))
            for i in (0, -1)
        )
        return (
            f"{name} (AIE from {first:.3f} to {last:.3f}, {score} from {percent(low, 0)} to "
            f"{percent(high, 0)} at tau {int(line.mean.index[-1]):,})"
        )

    # Trials probe their heads for different taus: what ended early would look as if it kept more.
    top = max(int(line.mean.index[-1]) for line in lines)
    pairs = zip(lines, head_names(lines), strict=True)
    long = [pair for pair in pairs if 2 * (1 + int(pair[0].mean.index[-1])) >= 1 + top]
    long.sort(key=lambda pair: float(pair[0].mean["aie"].iloc[-1]))
    if len(long) == 1:
        return f"Energy along the probing of {told(*long[0])}."
    return (
        f"Of the heads that were probed the longest, least energy is left by {told(*long[0])}, "
        f"most by {told(*long[-1])}."
    )


def _map_table(lines: Sequence[HeadLine], score: str) -> DataTable:
    every = sorted({int(tau) for line in lines for tau in line.mean.index})
    last = len(every) - 1
    n = min(_MOST_TAUS, len(every))
    taus = [every[round(i * last / max(1, n - 1))] for i in range(n)]
    shown = list(zip(head_names(lines), lines, strict=True))[:_MOST_HEADS]
    caption = f"Energy left (AIE) and {score} by tau"
    if len(taus) < len(every) or len(shown) < len(lines):
        caption += f"; {len(taus)} of {len(every)} taus, {len(shown)} of {len(lines)} heads"
    return DataTable(
        caption,
        ("head", *(f"tau {tau:,}" for tau in taus)),
        tuple((name, *(_cell(line, tau) for tau in taus)) for name, line in shown),
    )


def _cell(line: HeadLine, tau: int) -> str:
    if tau not in line.mean.index:
        return "-"
    at = list(line.mean.index).index(tau)
    energy, score = (float(line.mean[name].iloc[at]) for name in ("aie", "hp_train_acc"))
    return f"{energy:.3f}, {percent(score, 0)}" if math.isfinite(energy) else "-"


def _reserves(smoothings: Sequence[float], n_classes: int | None) -> tuple[str, ...]:
    told = [s for s in smoothings if s]
    if not told or n_classes is None or n_classes < 2:
        return ()
    texts = [f"{reserved_energy(s, n_classes):.3f} at smoothing {s:g}" for s in told]
    return (f"Label smoothing reserves energy that probing can't spend: {', '.join(texts)}.",)
