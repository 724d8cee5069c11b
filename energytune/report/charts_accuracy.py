"""Charts of the finetuned accuracy against tau and against energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from energytune.report.chart import MUTED, Axis, Chart, DataTable, Panel, Series
from energytune.report.hump import Hump, fit_hump
from energytune.report.scales import fit_axis
from energytune.report.thin import ranked, thin, thin_note
from energytune.report.words import percent, short_score, trial_name
from energytune.trial import TrialRecord

__all__ = ["energy_chart", "hump_of", "tau_chart"]

_MOST_POINTS = 400
_MOST_ROWS = 25
_CONFIRMED_STYLE = 6


def tau_chart(
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord] = (),
    *,
    winner: TrialRecord | None = None,
    metric: str = "accuracy",
) -> Chart | None:
    """Returns the validation score against tau; None if no trial is complete.

    Args:
        records: Trials of the search.
        confirmations: Runs on further seeds, drawn as mean and range.
        winner: Gets a ring.
        metric: What was measured.
    """
    complete = ranked(records)
    if not complete:
        return None
    drawn = thin(complete, _MOST_POINTS)
    score = f"FT-valid-{short_score(metric)}"
    series = _by_kind([(float(r.job.recipe.tau), r) for r in drawn])
    at = [(float(r.job.recipe.tau), r) for r in complete]
    series += [*_confirmed(at, confirmations), *_ring(at, winner)]
    best = complete[0]
    top = max(r.job.recipe.tau for r in complete)
    return Chart(
        "tau",
        f"{score} against tau",
        f"Of {len(complete):,} complete trials the best has tau = {best.job.recipe.tau:,} with "
        f"{percent(best.objective)}; taus from "
        f"{min(r.job.recipe.tau for r in complete):,} to {top:,} were finetuned to the end.",
        (
            Panel(
                "",
                Axis("tau (head-probing epochs)", "tau", -0.2, max(4.0, 1.3 * top)),
                _score_axis(score, drawn, confirmations),
                tuple(series),
            ),
        ),
        _trial_table(f"{score} of complete trials", complete, score),
        notes=(*thin_note(len(drawn), len(complete)), *_stopped_note(records)),
    )


def hump_of(records: Sequence[TrialRecord]) -> Hump:
    """Returns the parabola through energy and validation score of the complete trials."""
    points = [
        (r.probe.aie, r.objective)
        for r in ranked(records)
        if r.probe is not None and r.objective is not None
    ]
    finite = [point for point in points if all(map(math.isfinite, point))]
    return fit_hump([x for x, _ in finite], [y for _, y in finite])


def energy_chart(
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord] = (),
    *,
    winner: TrialRecord | None = None,
    metric: str = "accuracy",
) -> Chart | None:
    """Returns the validation score against AIE with the fitted hump; None if nothing is complete.

    Args:
        records: Trials of the search.
        confirmations: Runs on further seeds, drawn as mean and range.
        winner: Gets a ring.
        metric: What was measured.
    """
    complete = [r for r in ranked(records) if r.probe is not None]
    if not complete:
        return None
    drawn = thin(complete, _MOST_POINTS)
    score = f"FT-valid-{short_score(metric)}"
    hump = hump_of(records)
    series: list[Series] = []
    if hump.shape != "too few":
        series += [
            Series(
                "95 % bootstrap band", "band", hump.x, style=MUTED, low=hump.low, high=hump.high
            ),
            Series("fitted parabola", "line", hump.x, hump.y, style=6, dash=1),
        ]
    series += _by_kind([(r.probe.aie, r) for r in drawn if r.probe is not None])
    at = [(r.probe.aie, r) for r in complete if r.probe is not None]
    series += [*_confirmed(at, confirmations), *_ring(at, winner)]
    best = complete[0]
    energies = [x for x, _ in at]
    energy = best.probe.aie if best.probe else 0.0
    return Chart(
        "energy",
        f"{score} against the adaptation energy (AIE)",
        f"The best complete trial leaves AIE {energy:.3f} and reaches {percent(best.objective)}. "
        f"{hump.sentence()}",
        (
            Panel(
                "",
                fit_axis("adaptation energy after head probing (AIE)", energies),
                _score_axis(score, drawn, confirmations),
                tuple(series),
            ),
        ),
        _trial_table(f"{score} and AIE of complete trials", complete, score),
        notes=(
            "Trials differ in head, depth and rate as well: the curve says where along the energy "
            "the good ones lie, not what energy alone does.",
            *thin_note(len(drawn), len(complete)),
        ),
    )


def _by_kind(points: Sequence[tuple[float, TrialRecord]]) -> list[Series]:
    """Returns one series a head and depth."""
    groups: dict[tuple[str, int], list[tuple[float, TrialRecord]]] = {}
    for x, record in points:
        recipe = record.job.recipe
        groups.setdefault((recipe.head_arch, recipe.reinit_depth), []).append((x, record))
    series = []
    for i, (head, depth) in enumerate(sorted(groups)):
        own = groups[head, depth]
        series.append(
            Series(
                name=f"{head} head, k={depth}",
                kind="points",
                x=tuple(x for x, _ in own),
                y=tuple(r.objective or 0.0 for _, r in own),
                style=i,
                labels=tuple(
                    f"{trial_name(r.job)} {r.job.recipe.label()}: {percent(r.objective)}"
                    for _, r in own
                ),
            )
        )
    return series


def _confirmed(
    points: Sequence[tuple[float, TrialRecord]],
    confirmations: Sequence[TrialRecord],
) -> list[Series]:
    """Returns mean and range of the recipes that were run on further seeds."""
    found = []
    for x, record in points:
        own = [
            r.objective
            for r in confirmations
            if r.job.number == record.job.number and r.objective is not None
        ]
        if own:
            found.append((x, fmean(own), min(own), max(own), record))
    if not found:
        return []
    return [
        Series(
            name="mean and range on further seeds",
            kind="whiskers",
            x=tuple(one[0] for one in found),
            y=tuple(one[1] for one in found),
            style=_CONFIRMED_STYLE,
            low=tuple(one[2] for one in found),
            high=tuple(one[3] for one in found),
            labels=tuple(
                f"{trial_name(one[4].job)} {one[4].job.recipe.label()}: mean {percent(one[1])} on "
                "further seeds"
                for one in found
            ),
        )
    ]


def _ring(points: Sequence[tuple[float, TrialRecord]], winner: TrialRecord | None) -> list[Series]:
    own = [(x, r) for x, r in points if winner is not None and r.job.number == winner.job.number]
    if not own or own[0][1].objective is None:
        return []
    name = f"winner, {trial_name(own[0][1].job)}"
    return [Series(name, "rings", (own[0][0],), (own[0][1].objective,), style=6)]


def _score_axis(
    score: str, drawn: Sequence[TrialRecord], confirmations: Sequence[TrialRecord]
) -> Axis:
    values = [r.objective for r in [*drawn, *confirmations] if r.objective is not None]
    return fit_axis(score, values, percent=True)


def _stopped_note(records: Sequence[TrialRecord]) -> tuple[str, ...]:
    n_stopped = sum(r.state == "PRUNED" and r.duplicate_of is None for r in records)
    if not n_stopped:
        return ()
    noun = "trial that was stopped is" if n_stopped == 1 else "trials that were stopped are"
    return (f"{n_stopped:,} {noun} not drawn: what a whole finetune would give is not known.",)


def _trial_table(caption: str, best_first: Sequence[TrialRecord], score: str) -> DataTable:
    shown = best_first[:_MOST_ROWS]
    if len(shown) < len(best_first):
        caption += f", the best {len(shown)} of {len(best_first):,}"
    return DataTable(
        caption,
        ("trial", "recipe", "tau", "AIE", score),
        tuple(
            (
                trial_name(r.job),
                r.job.recipe.label(),
                f"{r.job.recipe.tau:,}",
                f"{r.probe.aie:.4f}" if r.probe else "-",
                percent(r.objective),
            )
            for r in shown
        ),
    )
