"""Ten claims of the paper, checked on each task by rules that were fixed in advance.

    python -m benchmarks.paper.claims                  # reads the committed results
    python -m benchmarks.paper.claims --run            # runs what is missing first
    python -m benchmarks.paper.claims --readme         # and puts the table into README.md

It writes ``claims.csv``, one row a claim and task, and ``claims.md``, the table of the README.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.machine import write_csv
from benchmarks.paper.output import paths, read_rows
from benchmarks.paper.rules_arms import (
    opposite_energy_hurts,
    reinit_raises_hp_train,
    same_smoothing_removes,
    smoothing_reserves,
    strong_head_lowers_energy,
)
from benchmarks.paper.rules_sweep import (
    distance_falls,
    interior_beats_both,
    norm_and_dot_rise_then_fall,
    pretrained_kernel_drifts_less,
    swaps_show_blocks,
)
from benchmarks.paper.settings import PAPER_RESULTS, Settings, add_options, settings_of
from benchmarks.paper.verdict import Claim, Verdict, untestable

README = PAPER_RESULTS.parent.parent.parent / "README.md"
BEGIN, END = "<!-- claims -->", "<!-- /claims -->"
_NOT_RUN = "was not run on this task"

_SWEEP, _TRICKS, _DEPTHS = "fig1_tau_sweep", "table2", "table3"
CLAIMS: tuple[Claim, ...] = (
    Claim("distance", "Feature distance falls as tau grows", _SWEEP, distance_falls),
    Claim(
        "norm-dot",
        "Norm and dot product first rise, then fall",
        _SWEEP,
        norm_and_dot_rise_then_fall,
    ),
    Claim("interior", "An interior tau beats both ends", _SWEEP, interior_beats_both),
    Claim("reserve", "Smoothing in HP reserves the predicted energy", _TRICKS, smoothing_reserves),
    Claim("removed", "The same smoothing in FT removes it", _TRICKS, same_smoothing_removes),
    Claim("opposite", "Smoothing in FT only hurts", _TRICKS, opposite_energy_hurts),
    Claim("mlp", "A stronger head lowers the energy", _TRICKS, strong_head_lowers_energy),
    Claim("reinit", "Reinitialised blocks raise HP-train-acc", _DEPTHS, reinit_raises_hp_train),
    Claim(
        "kernel",
        "A pretrained backbone's kernel drifts less than a random one's",
        "fig6_kernel",
        pretrained_kernel_drifts_less,
    ),
    Claim(
        "swap",
        "Small-tau backbones reject other heads, large-tau ones exchange them",
        "fig3_swap",
        swaps_show_blocks,
    ),
)


def main() -> None:
    """Judges all claims on the tasks that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--run", action="store_true", help="run experiments that are missing")
    parser.add_argument("--readme", action="store_true", help="replace the table in README.md")
    options = parser.parse_args()
    tasks = settings_of(options)
    if options.run:
        run_missing(tasks)
    rows = [row for claim in CLAIMS for settings in tasks for row in [judged(claim, settings)]]
    stem = "claims" if not options.dataset else f"claims-{tasks[0].name}"
    write_csv(options.out / f"{stem}.csv", rows)
    text = markdown(read_claims(options.out / f"{stem}.csv"))
    (options.out / f"{stem}.md").write_text(text + "\n")
    print(text)
    if options.readme:
        README.write_text(with_table(README.read_text(), text))


def run_missing(tasks: Sequence[Settings]) -> None:
    """Runs every experiment whose rows are not there."""
    for experiment in dict.fromkeys(claim.experiment for claim in CLAIMS):
        for settings in tasks:
            if not paths(settings, experiment)["rows"].exists():
                print(f"\n{settings.name}: {experiment}")
                import_module(f"benchmarks.paper.{experiment}").run(settings)


def judged(claim: Claim, settings: Settings) -> dict[str, Any]:
    """Returns the row of one claim on one task."""
    path = paths(settings, claim.experiment)["rows"]
    verdict = judge(claim, path)
    found = verdict.effect
    return {
        "claim": claim.key,
        "statement": claim.statement,
        "task": settings.name,
        "verdict": verdict.outcome,
        "effect": _number(found.mean),
        "low": _number(found.low),
        "high": _number(found.high),
        "unit": verdict.unit,
        "n_seeds": found.n,
        "experiment": claim.experiment,
        "sentence": verdict.sentence,
    }


def judge(claim: Claim, path: Path) -> Verdict:
    """Returns the verdict by the rows of an experiment; seeds that diverged are left out and told.

    A sweep needs every tau of a seed. Elsewhere a seed counts where both sides were measured:
    energies are known even where the finetune after them diverged.
    """
    if not path.exists():
        return untestable(f"{claim.experiment} was not run on this task.")
    rows = read_rows(path)
    seeds = {row["seed"] for row in rows}
    if claim.experiment == _SWEEP:
        lost = {row["seed"] for row in rows if row["failure"]}
        rows = [row for row in rows if row["seed"] not in lost]
    verdict = claim.rule(rows) if rows else untestable("Every seed has a run that diverged.")
    n_lost = len(seeds) - verdict.effect.n
    if verdict.outcome == "not testable" or claim.experiment == "fig6_kernel" or not n_lost:
        return verdict
    told = f"{verdict.sentence} Left out for a run that diverged: {n_lost} of {len(seeds)} seeds."
    return Verdict(verdict.outcome, verdict.effect, verdict.unit, told)


def read_claims(path: Path) -> list[dict[str, str]]:
    """Reads ``claims.csv`` as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Returns the table: a line a claim, a column a task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    at = {(row["claim"], row["task"]): row for row in rows}
    lines = [f"| claim | {' | '.join(tasks)} |", f"| --- |{' --- |' * len(tasks)}"]
    for claim in dict.fromkeys(row["claim"] for row in rows):
        cells = [_cell(at[claim, task]) for task in tasks]
        statement = at[claim, tasks[0]]["statement"]
        lines.append(f"| {statement} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(readme: str, text: str) -> str:
    """Returns the README with the table between its marks.

    Raises:
        ValueError: If the marks are not there.
    """
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def _cell(row: dict[str, str]) -> str:
    if row["verdict"] == "not testable":
        return "not run yet" if _NOT_RUN in row["sentence"] else "not testable"
    mean, low, high = (_short(float(row[name]), row["unit"]) for name in ("effect", "low", "high"))
    verdict = f"**{row['verdict']}**" if row["verdict"] == "holds" else row["verdict"]
    return f"{verdict}: {mean} [{low}, {high}] {row['unit']}"


def _short(value: float, unit: str) -> str:
    """Returns one digit of a percentage, else two that say something."""
    if unit in ("points", "%"):
        return f"{value:+.1f}"
    return f"{value:+.0f}" if abs(value) >= 100 else f"{value:+.2g}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


if __name__ == "__main__":
    main()
