from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from energytune.tracking.links import UI_ADDRESS, deep_link


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        ("http://tracking.example:5000/", "http://tracking.example:5000"),
        ("https://me:secret@tracking.example", "https://tracking.example"),
        ("sqlite:////a/b.db", UI_ADDRESS),
        ("postgresql://me:secret@host/db", UI_ADDRESS),
    ],
)
def test_the_link_shows_one_search_as_charts_sorted_by_objective(uri: str, base: str) -> None:
    link = deep_link(uri, "7", "s1")
    assert link.startswith(f"{base}/#/experiments/7/runs?")
    query = parse_qs(urlsplit(link).fragment.split("?")[1])
    assert query == {
        "compareRunsMode": ["CHART"],
        "searchFilter": ["tags.`energytune.search` = 's1'"],
        "orderByKey": ["metrics.objective"],
        "orderByAsc": ["false"],
    }
