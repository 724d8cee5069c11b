"""Champions of a data set as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from energytune.tracking.champion import Promotion
from energytune.tracking.history import ChampionHistory, VersionRow

__all__ = ["print_champion", "print_history"]

_FACTS = (
    ("recipe", ("tau", "head_arch", "label_smoothing", "reinit_depth", "ft_lr")),
    ("backbone", ("backbone", "backbone_sha256")),
    ("code", ("energytune.version", "energytune.git_commit", "energytune.package_git_commit")),
)
"""Tags of a version that are told, by the line they stand in."""


def print_champion(console: Console, history: ChampionHistory) -> None:
    """Prints who is champion, since when and by whom, what it is, and how to load it."""
    champion = next((r for r in history.rows if r.version == history.champion), None)
    if champion is None:
        _line(console, f"{history.name} has no champion; it has {len(history.rows)} versions.")
        _line(console, "The next search that ends makes one, or `energytune champion promote`.")
        return
    score = "" if champion.score is None else f", test score {champion.score:.4f}"
    _line(console, f"Champion of {history.name}: version {champion.version}{score}")
    last = next((p for p in reversed(history.promotions) if p.version == champion.version), None)
    if champion.decision:
        _line(console, f"  {champion.decision}")
    if last is not None:
        _line(console, f"  {_promotion(last)}, {_when(last.at_ms)}, by {last.by}")
    if champion.protocol:
        _line(console, f"  protocol: {champion.protocol}")
    for title, keys in _FACTS:
        facts = [
            f"{key.split('.')[-1]}={champion.tags[key]}" for key in keys if key in champion.tags
        ]
        if facts:
            _line(console, f"  {title}: {' '.join(facts)}")
    _line(console, f"  load it: models:/{history.name}@champion in {history.uri}")


def print_history(console: Console, history: ChampionHistory) -> None:
    """Prints every version and every person's decision, in the order of their time."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for title in ("version", "when (UTC)", "score", "difference (95 %)", "p", "decision", "by"):
        table.add_column(title, overflow="fold")
    rows = [(row.created_ms, 0, _version_cells(row, history.champion)) for row in history.rows]
    rows += [(p.at_ms, 1, _promotion_cells(p)) for p in history.promotions]
    for _, _, cells in sorted(rows, key=lambda row: row[:2]):
        table.add_row(*cells)
    _line(console, f"{history.name}: {len(history.rows)} versions, * is the champion")
    console.print(table)


def _version_cells(row: VersionRow, champion: int | None) -> tuple[str, ...]:
    step = row.comparison
    test = None if step is None else step.test
    difference = p_value = ""
    if test is not None:
        difference = f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})"
        p_value = f"{test.p_value:.2g}"
    return (
        f"{row.version}{' *' if row.version == champion else ''}",
        _when(row.created_ms),
        "" if row.score is None else f"{row.score:.4f}",
        difference,
        p_value,
        _outcome(row),
        f"search {row.search_id}" if row.search_id else "",
    )


def _outcome(row: VersionRow) -> str:
    step = row.comparison
    if step is None:
        return row.decision or ("not registered by energytune" if not row.protocol else "")
    against = "" if step.champion is None else f" (against v{step.champion})"
    if step.n_more is not None:
        return f"{step.outcome}{against}: needs about {step.n_more:,} more test examples"
    return f"{step.outcome}{against}"


def _promotion_cells(promotion: Promotion) -> tuple[str, ...]:
    when = _when(promotion.at_ms)
    return (str(promotion.version), when, "", "", "", _promotion(promotion), promotion.by)


def _promotion(promotion: Promotion) -> str:
    done = "promoted by hand" if promotion.kind == "promote" else "rolled back to"
    before = "" if promotion.before is None else f" (before: v{promotion.before})"
    return f"{done}{before}" + (f": {promotion.reason}" if promotion.reason else "")


def _when(at_ms: int) -> str:
    """Returns a time as ``2026-11-29 06:20`` in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
