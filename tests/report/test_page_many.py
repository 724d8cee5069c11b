"""A page of many trials stays small."""

from __future__ import annotations

from energytune.report.page import MAX_BYTES, render_page
from tests.report.hand_made import trial
from tests.report.pages import read, table, thousands, whole


def test_a_page_of_thousands_of_trials_is_as_small_as_one_of_a_few_hundred() -> None:
    records = thousands(3_000)
    best = max(records, key=lambda r: r.objective or 0.0)
    changes = {"winner": best, "baselines": {}, "confirmations": [], "confirmed": []}
    page = render_page(whole(records=records, **changes))
    assert len(page.encode()) < MAX_BYTES / 4
    root = read(page)
    text = root.content
    assert "400 of 2,000 trials are drawn: the best 200" in text
    assert "1,000 trials that were stopped are not drawn" in text
    assert len(root.one("figure", id="fig-parallel").all("path", class_="line muted")) == 154 + 1
    small = render_page(whole(records=records[:600], **changes | {"winner": records[1]}))
    assert len(page) < 1.3 * len(small)
    assert "eight of ten trials" in text
    rows = table(root, "Trials that did not run")
    assert rows[1][1] == "1,000"  # one reason, numbers apart


def test_reasons_of_many_kinds_are_cut_short() -> None:
    records = [
        trial(i, (), state="FAIL", reason=f"{'abcdefghijklmnopqrstuvwxyz'[i]} {'x' * 999}")
        for i in range(26)
    ]
    rows = table(
        read(render_page(whole(records=records, winner=None, baselines={}))), "Trials that did not"
    )
    assert len(rows) == 14
    assert rows[-1][0] == "other"
    assert all(len(row[2]) < 320 for row in rows)
