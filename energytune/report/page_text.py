"""The page's sentences and rows: what came out, how sure it is, and what was not measured."""

from __future__ import annotations

from energytune.report.charts_outcome import BASELINES
from energytune.report.comparison import compare, confirmed
from energytune.report.costs import Costs
from energytune.report.inputs import ReportInput
from energytune.report.neighbours import Neighbour, neighbours, optimum
from energytune.report.words import count, difference, duration, percent, percents, trial_name

__all__ = [
    "banner",
    "cost_rows",
    "headline",
    "missing_adaptation",
    "missing_outcome",
    "neighbour_rows",
    "noise_text",
    "standing_rows",
    "tiles",
    "verdict",
]


def headline(data: ReportInput) -> str:
    """Returns what was searched, in a line."""
    words = [f"{data.dataset} with {data.backbone}" if data.backbone else data.dataset]
    n = sum(record.duplicate_of is None for record in data.records)
    words.append(count(n, "trial"))
    words.append(f"seed {data.seed}")
    if data.state == "ended" and data.end_reason:
        words.append(f"ended: {data.end_reason}")
    return ", ".join(words)


def banner(data: ReportInput) -> str:
    """Returns what a reader must know before all else; empty if nothing."""
    n = sum(record.duplicate_of is None for record in data.records)
    done = f"{n:,} of {count(data.n_trials, 'trial')}" if data.n_trials else count(n, "trial")
    if data.state == "interrupted":
        return (
            f"This search was interrupted after {done}. What it found so far is below; the same "
            "command with the same --out goes on."
        )
    if data.state == "running":
        waiting = f", {data.n_waiting:,} more are running or paused" if data.n_waiting else ""
        return (
            f"This search has not ended: it goes on, or was killed. {done} had ended when this "
            f"page was made{waiting}."
        )
    return ""


def verdict(data: ReportInput) -> str:
    """Returns the outcome in a few sentences, with its intervals."""
    winner = data.winner
    if winner is None:
        return "No trial is complete, so there is no winner yet."
    name = f"{trial_name(winner.job)} ({winner.job.recipe.label()})"
    best = confirmed(winner, data.confirmations, data.metric)
    if not best.accuracy_by_seed:
        return (
            f"Best so far is {name}, with {percent(winner.objective)} {data.valid_score}. "
            f"{missing_outcome(data)}"
        )
    n_seeds = count(len(best.accuracy_by_seed), "seed")
    told = f"mean of {n_seeds}"
    if best.interval is not None:
        told = f"95 % interval {percents(best.interval)} over {best.n_test:,} test samples; {told}"
    title = "The winner" if data.state == "ended" else "Best so far"
    text = f"{title} is {name}: {percent(best.mean)} test {data.score} ({told})."
    for comparison in compare(winner, data.baselines, data.confirmations):
        other = BASELINES.get(comparison.baseline, comparison.baseline)
        if comparison.is_winner:
            text += f" It is {other} itself."
        else:
            text += f" Against {other}: {difference(comparison.difference, data.n_confirm_seeds)}."
    missing = [BASELINES[n] for n in BASELINES if n not in data.baselines]
    if missing:
        text += f" Not measured, so not compared: {' and '.join(missing)}."
    return text


def missing_outcome(data: ReportInput) -> str:
    """Returns why there is no test result."""
    if data.winner is None:
        return "Test was not read: no trial is complete."
    if data.state == "running":
        return "Test was not read yet: the search has not ended."
    if data.state == "interrupted":
        return "Test was not read: the search was interrupted before."
    n_failed = sum(
        r.state == "FAIL" and r.job.number == data.winner.job.number for r in data.confirmations
    )
    if n_failed:
        return f"Test was not read: {count(n_failed, 'run')} of the winner on further seeds failed."
    return "Test was not read: no run of the winner on further seeds is known here."


def missing_adaptation(data: ReportInput) -> str:
    """Returns why there are no adaptation metrics."""
    if data.winner is None:
        return "Not measured: no trial is complete."
    return "Not measured: the winner's runs have no finite adaptation metrics."


def tiles(data: ReportInput, spent: Costs) -> list[tuple[str, str, str]]:
    """Returns the few numbers at the top: (name, number, what it is)."""
    found = []
    winner = data.winner
    if winner is not None:
        best = confirmed(winner, data.confirmations, data.metric)
        if best.accuracy_by_seed:
            told = f"95 %: {percents(best.interval)}" if best.interval else "mean over seeds"
            found.append((f"test {data.score}", percent(best.mean), told))
        else:
            found.append((data.valid_score, percent(winner.objective), "one run, test not read"))
        for comparison in compare(winner, data.baselines, data.confirmations):
            paired = comparison.difference
            if comparison.is_winner or not paired.n:
                continue
            told = "one seed, no interval"
            if paired.interval is not None:
                low, high = 100 * paired.interval.low, 100 * paired.interval.high
                told = f"95 %: {low:+.1f} to {high:+.1f}"
                told += "" if paired.excludes_zero else ", may be chance"
            found.append((f"points over {comparison.baseline}", f"{100 * paired.mean:+.1f}", told))
    total = spent.seconds.get("total")
    if total is not None:
        found.append(("wall-clock time", duration(total), f"{spent.ft_epochs:,} FT epochs"))
    else:
        found.append(("finetuning epochs", f"{spent.ft_epochs:,}", "of the search's trials"))
    return found


def standing_rows(data: ReportInput) -> list[tuple[str, ...]]:
    """Returns how the confirmed recipes stand: trial, recipe, mean, seeds, what to say of it."""
    number = data.winner.job.number if data.winner else None
    return [
        (
            f"t{s.number:03d}",
            s.recipe.label(),
            percent(s.mean),
            str(s.n_seeds),
            s.dropped or ("winner" if s.number == number and data.state == "ended" else ""),
        )
        for s in data.confirmed
        if s.n_seeds or s.dropped
    ]


def noise_text(data: ReportInput) -> str:
    """Returns how much the seed alone moves the validation score."""
    noise = data.seed_noise
    if noise is None:
        return "Seed deviation: not measured, no recipe was run on two seeds."
    low, high = noise.interval()
    return (
        f"The seed alone moves {data.valid_score} by {100 * noise.deviation:.1f} points (standard "
        f"deviation; 95 % interval {100 * low:.1f} to {100 * high:.1f}, from "
        f"{count(noise.n_runs, 'run')} of {count(noise.n_recipes, 'recipe')})."
    )


def neighbour_rows(data: ReportInput) -> tuple[list[tuple[str, ...]], str]:
    """Returns the winner's neighbours in rate and tau, and what they say of the optimum."""
    if data.winner is None:
        return [], ""
    found = neighbours(data.winner, data.records, data.space, data.seed_noise)
    if all(one.is_at_bound for one in found):
        return [], ""
    return [_neighbour(one) for one in found], optimum(found, data.winner, data.space)


def _neighbour(one: Neighbour) -> tuple[str, ...]:
    record = one.record
    if record is None:
        why = "the space ends here" if one.is_at_bound else "not run"
        return one.direction, "-", why, "", ""
    told = percent(one.accuracy)
    if record.state == "FAIL":
        told = "failed"
    elif one.accuracy is None:
        told = "pruned before finetuning"
    elif record.state == "PRUNED":
        told += f" (stopped at epoch {one.epoch})"
    gap = ""
    if one.difference is not None:
        gap = f"{100 * one.difference:+.1f}"
        gap += "" if one.deviations is None else f" ({one.deviations:+.1f} seed deviations)"
    return one.direction, trial_name(record.job), told, gap, record.job.recipe.label()


def cost_rows(data: ReportInput, spent: Costs) -> list[tuple[str, str]]:
    """Returns epochs and trials: (what, how many and what was saved)."""
    n_run = spent.n_complete + spent.n_pruned + spent.n_failed
    full = n_run * data.space.finetune.epochs
    ended = f"{spent.n_complete:,} complete"
    if spent.n_stopped:
        ended += f" ({spent.n_stopped:,} of them stopped early by themselves)"
    ended += f", {spent.n_pruned:,} pruned or paused for good, {spent.n_failed:,} failed"
    if data.n_duplicates:
        ended += f", {data.n_duplicates:,} repeated and not run again"
    rows = [("trials", ended), ("HP epochs", _saved(spent.hp_epochs_run, spent.hp_epochs))]
    if full:
        saved = 100 * (1 - spent.ft_epochs / full)
        rows.append(
            (
                "FT epochs",
                f"{spent.ft_epochs:,} run; {full:,} had every trial gone to its last epoch "
                f"({saved:.0f} % saved by stopping)",
            )
        )
    rows.append(("FT epochs to confirm", f"{spent.ft_epochs_confirm:,}"))
    rows.append(
        (
            "in the trials, summed over workers",
            f"HP {duration(spent.trial_seconds_hp)}, FT {duration(spent.trial_seconds_ft)}",
        )
    )
    return rows


def _saved(n_run: int, n_wanted: int) -> str:
    if not n_wanted:
        return "none wanted"
    saved = 100 * (1 - n_run / n_wanted)
    return (
        f"{n_run:,} run of {n_wanted:,} wanted ({saved:.0f} % saved: taus of one head share their "
        "probing)"
    )
