from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from energytune.tracking.links import UI_ADDRESS, compare_link, deep_link, model_link

URIS = [
    ("http://tracking.example:5000/", "http://tracking.example:5000"),
    ("https://me:secret@tracking.example", "https://tracking.example"),
    ("sqlite:////a/b.db", UI_ADDRESS),
    ("postgresql://me:secret@host/db", UI_ADDRESS),
]


def query_of(link: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(link).fragment.split("?")[1])


@pytest.mark.parametrize(("uri", "base"), URIS)
def test_without_a_view_the_link_says_filter_and_order(uri: str, base: str) -> None:
    link = deep_link(uri, "7", "s1")
    assert link.startswith(f"{base}/#/experiments/7/runs?")
    assert query_of(link) == {
        "compareRunsMode": ["CHART"],
        "searchFilter": ["tags.`energytune.search` = 's1'"],
        "orderByKey": ["metrics.`objective`"],
        "orderByAsc": ["false"],
        "workflowType": ["machine_learning"],
    }


@pytest.mark.parametrize("page", ["CHART", "TABLE"])
def test_with_a_view_nothing_stands_beside_it_that_would_switch_it_off(page: str) -> None:
    link = deep_link("http://up:1", "7", "s1", has_view=True, page=page)  # type: ignore[arg-type]
    assert query_of(link) == {
        "compareRunsMode": [page],
        "viewStateShareKey": ["s1"],
        "workflowType": ["machine_learning"],
    }


@pytest.mark.parametrize(("uri", "base"), URIS)
def test_pages_that_compare_runs_and_list_versions(uri: str, base: str) -> None:
    link = compare_link(uri, "7", ["r1", "r2"])
    assert link.startswith(f"{base}/#/compare-runs?")
    assert query_of(link)["runs"] == ['["r1", "r2"]']
    assert query_of(link)["experiments"] == ['["7"]']
    assert model_link(uri, "energytune-digits").startswith(f"{base}/#/models/energytune-digits?")
    assert "/#/models/a%2Fb/versions/2?" in model_link(uri, "a/b", 2)
