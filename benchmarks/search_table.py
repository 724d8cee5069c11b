"""The README's table of what a search finds for its cost: ``python -m benchmarks.search_table``.

Made of the committed CSV files alone; a test holds that the README has it word for word.
"""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.machine import RESULTS
from benchmarks.tabular.peers import OURS, REFERENCE

README = RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- table:search -->", "<!-- /table:search -->"
_WITHOUT_ENERGY = "energytune - energy features"
_NAMES = {
    OURS: "**energytune**",
    REFERENCE: "TPE + ASHA, tuned",
    "tpe + asha, ray's defaults": "TPE + ASHA, Ray's defaults",
    "hyperband + tpe": "Hyperband + TPE",
    "tpe": "TPE",
    "gp": "Gaussian process",
    "random": "random",
    _WITHOUT_ENERGY: "energytune without energy",
    "energytune - halving": "energytune without pausing",
}
"""Rows of the README, in their order; others are in the CSV."""
_AIM = 4.0
_Row = dict[str, str]


def main() -> None:
    """Prints the table, or with ``--write`` puts it into the README."""
    import sys

    text = table()
    print(text)
    if "--write" in sys.argv[1:]:
        README.write_text(with_table(README.read_text(), text))


def table(folder: Path = RESULTS, role: str = "heldout") -> str:
    """Returns the Markdown."""
    stem = f"search_efficiency-{role}"
    regret = _rows(folder / f"{stem}-regret.csv")
    ratio = [r for r in _rows(folder / f"{stem}-ratio.csv") if r["method"] == OURS]
    prunes = {r["rule"]: r for r in _rows(folder / f"false_prunes-{role}.csv")}
    ablation = _rows(folder / f"{stem}-ablation.csv")
    parts = [
        _regret_table(regret, ablation, "ft_epochs", "finetuning epochs"),
        _regret_table(regret, ablation, "finetunes", "whole finetunes' seconds, probing included"),
        _ratio_table(ratio, prunes["all prunes"], prunes["all recipes"]),
        _reach(_rows(folder / f"{stem}-reach.csv")),
    ]
    return "\n\n".join(parts)


def with_table(readme: str, text: str) -> str:
    """Returns the README with the table between its marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def _rows(path: Path) -> list[_Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _regret_table(rows: list[_Row], ablation: list[_Row], unit: str, what: str) -> str:
    of_unit = [row for row in rows if row["unit"] == unit]
    budgets = list(dict.fromkeys(row["budget"] for row in of_unit))
    at = {(row["method"], row["budget"]): row for row in of_unit}
    lines = [_line([f"points below the best recipe after ... {what}", *map(_whole, budgets)])]
    lines.append(_line(["---"] * (1 + len(budgets))))
    for method, name in _NAMES.items():
        if (method, budgets[0]) in at:
            cells = [f"{float(at[method, budget]['regret']):.2f}" for budget in budgets]
            lines.append(_line([name, *cells]))
    differences = [at[OURS, budget] for budget in budgets]
    cells = [_interval(row, "minus_reference") for row in differences]
    lines.append(_line(["energytune minus tuned TPE + ASHA", *cells]))
    without = [r for r in ablation if (r["method"], r["unit"]) == (_WITHOUT_ENERGY, unit)]
    cells = [_interval(row, "minus_reference") for row in without]
    lines.append(_line(["without energy minus energytune", *cells]))
    return "\n".join(lines)


def _ratio_table(rows: list[_Row], stopped: _Row, every: _Row) -> str:
    by_unit = {u: [r for r in rows if r["unit"] == u] for u in ("ft_epochs", "finetunes")}
    epochs = by_unit["ft_epochs"]
    lines = [
        _line(
            ["as good as tuned TPE + ASHA after", *(_whole(r["reference_budget"]) for r in epochs)]
        ),
        _line(["---"] * (1 + len(epochs))),
        _line(["energytune's finetuning epochs", *(_whole(r["cost"]) for r in epochs)]),
        _line(["times cheaper", *(_interval(r, "times_cheaper") for r in epochs)]),
        _line(
            [
                "times cheaper than it was as good before",
                *(_interval(r, "times_cheaper_alike") for r in epochs),
            ]
        ),
    ]
    shares = {name: _percent(stopped[name]) for name in ("would_be_returned", "false_prunes")}
    in_seconds = _worst(by_unit["finetunes"], "the seconds of {} whole finetunes")
    text = (
        f"{_aim(epochs)} {_worst(epochs, '{} finetuning epochs')} {in_seconds} Of the recipes that "
        f"it had stopped at the end, {shares['would_be_returned']} would have been returned had "
        f"they been run on; {shares['false_prunes']} come within one seed deviation of what was "
        f"returned, as do {_percent(every['false_prunes'])} of all recipes."
    )
    return "\n".join(lines) + "\n\n" + text


def _reach(rows: list[_Row]) -> str:
    """Returns what it costs to come within one seed deviation of the best recipe, and stay."""
    at = {row["method"]: row for row in rows if row["unit"] == "ft_epochs"}
    ours, theirs = at[OURS], at[REFERENCE]
    return (
        "To come within one seed deviation of the best recipe, and stay there, takes "
        f"{_whole(ours['cost'])} finetuning epochs on average against {_whole(theirs['cost'])} of "
        f"tuned TPE + ASHA ({_interval(ours, 'times_cheaper')} times cheaper); "
        f"{_percent(ours['share_never'])} of the searches against "
        f"{_percent(theirs['share_never'])} "
        f"never do, and count with {_whole(ours['cap'])}."
    )


def _aim(rows: list[_Row]) -> str:
    """Returns at which budgets a quarter of the cost is enough, and at which it is not."""
    budgets: dict[bool, list[str]] = {True: [], False: []}
    for row in rows:
        budgets[float(row["times_cheaper"]) >= _AIM].append(_whole(row["reference_budget"]))
    reached, missed = (", ".join(budgets[b]) or "no budget" for b in (True, False))
    return f"A quarter of the cost was the aim: reached at {reached}, missed at {missed}."


def _worst(rows: list[_Row], what: str) -> str:
    worse, since = float(rows[0]["most_worse"]), _whole(rows[0]["reference_budget"])
    told = (
        f"at most {worse:.2f} points worse" if worse > 0 else f"{-worse:.2f} points better or more"
    )
    return f"From {what.format(since)} on energytune is {told} at every budget."


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _whole(value: str) -> str:
    return f"{float(value):,.0f}" if value else "never"


def _interval(row: _Row, name: str) -> str:
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    sign = "+" if name.startswith("minus") else ""
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f} %"


if __name__ == "__main__":
    main()
