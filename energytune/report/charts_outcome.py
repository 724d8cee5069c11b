"""Charts of what came out: winner and baselines on test, and how far finetuning moved features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from energytune.report.chart import Axis, Chart, DataTable, Panel, Series
from energytune.report.comparison import Confirmed, compare, confirmed
from energytune.report.scales import fit_axis
from energytune.report.words import difference, percent, percents
from energytune.tasks import SCORE_NAMES
from energytune.trial import TrialRecord

__all__ = ["ADAPTATION", "BASELINES", "adaptation_chart", "outcome_chart"]

BASELINES = {
    "tau=0": "plain finetuning (tau=0)",
    "tau=max": "probing to convergence (tau=max)",
}
"""What each baseline stands for."""
ADAPTATION = {
    "feature_distance": "distance ||z_T - z_0||",
    "feature_cosine": "cosine of z_T and z_0",
    "feature_dot": "dot product z_T . z_0",
    "feature_norm": "norm ||z_T||",
}
"""The adaptation metrics, of features before (z_0) and after finetuning (z_T)."""


def outcome_chart(
    winner: TrialRecord | None,
    baselines: Mapping[str, TrialRecord],
    confirmations: Sequence[TrialRecord],
    *,
    metric: str = "accuracy",
    n_seeds: int = 0,
) -> Chart | None:
    """Returns winner and baselines on test with their intervals; None if none was tested.

    The bar is the 95 % interval over test samples of an accuracy, or the range over seeds of
    another score; small dots are the seeds.

    Args:
        winner: The chosen trial; None gives no chart.
        baselines: By name.
        confirmations: Runs on further seeds.
        metric: What was measured.
        n_seeds: Seeds there should be of each.
    """
    if winner is None:
        return None
    rows = {"winner": confirmed(winner, confirmations, metric)}
    rows |= {name: confirmed(record, confirmations, metric) for name, record in baselines.items()}
    tested = {name: row for name, row in rows.items() if row.accuracy_by_seed}
    if "winner" not in tested:
        return None
    values = [v for row in tested.values() for v in (*row.accuracy_by_seed.values(), *_ends(row))]
    score, is_share = SCORE_NAMES[metric], metric == "accuracy"
    series, names = [], []
    for i, (name, row) in enumerate(tested.items()):
        y = float(len(tested) - 1 - i)
        low, high = _ends(row)
        told = f"{percent(row.mean)} [{100 * low:.1f}, {100 * high:.1f}]"
        series.append(
            Series(
                name="95 % interval over test samples" if is_share else "range over seeds",
                kind="ranges",
                x=(row.mean,),
                y=(y,),
                style=i,
                low=(low,),
                high=(high,),
                labels=(f"{name}: {told}",),
                strong=True,
            )
        )
        seeds = tuple(row.accuracy_by_seed.values())
        series.append(Series("one seed", "points", seeds, (y - 0.2,) * len(seeds), style=-1))
        names.append((y, f"{name}, t{row.number:03d}: {told}"))
    comparisons = {
        c.baseline: c for c in compare(winner, baselines, confirmations) if not c.is_winner
    }
    table = DataTable(
        f"Test {score} of the winner and the baselines",
        (
            "",
            "trial",
            "mean",
            "95 % interval" if is_share else "range",
            "by seed",
            "winner minus it",
        ),
        tuple(
            (
                BASELINES.get(name, name),
                f"t{row.number:03d}",
                percent(row.mean),
                percents(row.interval) if row.interval else "-",
                _by_seed(row),
                difference(comparisons[name].difference, n_seeds)
                if name in comparisons
                else ""
                if name == "winner"
                else "it is the winner",
            )
            for name, row in rows.items()
        ),
    )
    says = [f"The winner has {percent(tested['winner'].mean)} test {score}"]
    says += [
        f"{percent(row.mean)} has {BASELINES.get(name, name)}"
        for name, row in tested.items()
        if name in comparisons
    ]
    height = 58 + 72 * len(tested)
    return Chart(
        "outcome",
        f"Test {score} of the winner and the baselines",
        "; ".join(says) + ".",
        (
            Panel(
                "",
                fit_axis(f"test {score}", values, percent=True),
                Axis("", "none", -0.45, len(tested) - 0.45),
                tuple(series),
                names=tuple(names),
            ),
        ),
        table,
        size=(560, height),
    )


def adaptation_chart(
    winner: TrialRecord | None,
    baselines: Mapping[str, TrialRecord],
    confirmations: Sequence[TrialRecord],
) -> Chart | None:
    """Returns how far finetuning moved the features of winner and baselines; None if unknown.

    Args:
        winner: The chosen trial; None gives no chart.
        baselines: By name.
        confirmations: Runs on further seeds; without one, a trial's own numbers are shown.
    """
    if winner is None:
        return None
    records = {"winner": winner, **baselines}
    found = {name: _adaptation(record, confirmations) for name, record in records.items()}
    found = {name: runs for name, runs in found.items() if runs}
    if "winner" not in found:
        return None
    panels = []
    for metric, label in ADAPTATION.items():
        series, names = [], []
        values = [run[metric] for runs in found.values() for run in runs]
        for i, (name, runs) in enumerate(found.items()):
            own, y = [run[metric] for run in runs], float(len(found) - 1 - i)
            series.append(
                Series(
                    name=BASELINES.get(name, name),
                    kind="ranges",
                    x=(fmean(own),),
                    y=(y,),
                    style=i,
                    low=(min(own),),
                    high=(max(own),),
                    labels=(f"{name}: {_number(fmean(own))}",),
                    strong=True,
                )
            )
            names.append((y, f"{name}: {_number(fmean(own))}"))
        y_axis = Axis("", "none", -0.4, len(found) - 0.4)
        axis = fit_axis(label, values)
        panels.append(Panel(label, axis, y_axis, tuple(series), names=tuple(names)))
    n_seeds = {len(runs) for runs in found.values()}
    table = DataTable(
        "Adaptation metrics: mean and range over seeds",
        ("", *found),
        tuple(
            (label, *(_mean_and_range([run[key] for run in runs]) for runs in found.values()))
            for key, label in ADAPTATION.items()
        ),
    )
    return Chart(
        "adaptation",
        "How far finetuning moved the features",
        _adaptation_finding(found),
        tuple(panels),
        table,
        notes=(
            "Means over the training set; the bar is the range over seeds."
            if max(n_seeds) > 1
            else "Means over the training set, one run each.",
        ),
        size=(360, 58 + 54 * len(found)),
    )


def _adaptation(
    trial: TrialRecord, confirmations: Sequence[TrialRecord]
) -> list[Mapping[str, float]]:
    """Returns the metrics of a recipe's runs: of its confirmation, else of the search."""
    number = trial.job.number
    runs = [r for r in confirmations if r.job.number == number and r.job.role == "confirm"]
    ends = [r.finished for r in runs or [trial] if r.finished is not None]
    return [
        end.adaptation
        for end in ends
        if all(math.isfinite(end.adaptation.get(name, math.nan)) for name in ADAPTATION)
    ]


def _adaptation_finding(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    moved = {name: fmean(run["feature_distance"] for run in runs) for name, runs in found.items()}
    others = [
        f"{BASELINES.get(name, name)} {_number(value)}"
        for name, value in moved.items()
        if name != "winner"
    ]
    text = f"Finetuning moved the winner's features by {_number(moved['winner'])}"
    return f"{text}; {', '.join(others)}." if others else f"{text}."


def _ends(row: Confirmed) -> tuple[float, float]:
    if row.interval is not None:
        return row.interval.low, row.interval.high
    values = row.accuracy_by_seed.values()
    return min(values), max(values)


def _by_seed(row: Confirmed) -> str:
    text = " ".join(f"{100 * value:.1f}" for value in row.accuracy_by_seed.values())
    return f"{text} ({row.n_failed} failed)".strip() if row.n_failed else text


def _mean_and_range(values: Sequence[float]) -> str:
    mean = _number(fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.3g}"
