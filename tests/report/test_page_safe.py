"""Nothing from outside: texts are text, nothing is loaded; and the page is for everybody."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from energytune.report.page import render_page
from tests.report.pages import FIGURES, HOSTILE, hostile, read, whole

URL = re.compile(r"https?:", re.IGNORECASE)


def test_what_comes_from_outside_is_text_and_nothing_else() -> None:
    page = render_page(hostile())
    root = read(page)
    assert root.all("script") == []
    assert root.all("img") == []
    assert all(not name.startswith("on") for e in root.all() for name in e.attrs)
    assert root.one("h1").content == " ".join(HOSTILE.split())
    assert "javascript:" not in page
    assert len(root.all("figure")) == len(FIGURES)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "http://a b", ""])
def test_only_addresses_of_the_web_are_linked(link: str) -> None:
    links = [a.attrs["href"] for a in read(render_page(whole(link=link))).all("a")]
    assert [href for href in links if not href.startswith("#")] == [
        "https://arxiv.org/abs/2302.05779"
    ]


@pytest.mark.parametrize("make", [whole, hostile])
def test_nothing_is_loaded_from_outside(make: Any) -> None:
    page = render_page(make())
    root = read(page)
    for element in root.all():
        for name in ("src", "srcset", "xlink:href", "action", "poster", "background", "data"):
            assert name not in element.attrs
        if element.tag == "link":
            assert element.attrs == {"rel": "icon", "href": "data:,"}
        elif "href" in element.attrs:
            assert element.tag == "a"
        assert "url(" not in element.attrs.get("style", "")
    css = root.one("style").text
    assert not re.search(r"url\(|@import|expression|</", css)
    assert not URL.search(css)
    policy = root.one("meta", **{"http-equiv": "Content-Security-Policy"}).attrs["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert root.all("script") == []
    assert root.all("iframe") == []


def test_the_page_is_well_formed_and_can_be_walked() -> None:
    page = render_page(whole())
    root = read(page)
    assert root.one("html").attrs["lang"] == "en"
    levels = [int(e.tag[1]) for e in root.all() if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [e.attrs["id"] for e in root.all() if "id" in e.attrs]
    assert len(ids) == len(set(ids))
    for element in root.all("a"):
        href = element.attrs["href"]
        assert not href.startswith("#") or href[1:] in ids
    for element in root.all():
        for name in element.attrs.get("aria-labelledby", "").split():
            assert name in ids
    for name in ("main", "header", "footer", "nav"):
        assert len(root.all(name)) == 1


def test_every_figure_says_what_it_shows_and_has_its_numbers() -> None:
    root = read(render_page(whole()))
    for figure in root.all("figure"):
        finding = figure.one("p", class_="finding").content
        assert re.search(r"\d", finding), finding
        for svg in [s for s in figure.all("svg") if "role" in s.attrs]:
            assert svg.attrs["role"] == "img"
            title, text = svg.children[0], svg.children[1]
            assert (title.tag, text.tag) == ("title", "desc")
            assert text.content == finding
            assert f"{title.attrs['id']} {text.attrs['id']}" == svg.attrs["aria-labelledby"]
        assert len(figure.one("details").all("table")) == 1
    for name in root.all("table"):
        assert name.all("caption") or "aria-labelledby" in name.attrs
        assert all("scope" in th.attrs for th in name.all("th"))


def shape_of(classes: list[str]) -> tuple[str, ...]:
    """What is left of how a series looks without its colour."""
    return tuple(name for name in classes if not re.fullmatch(r"c\d", name))


def test_colour_is_never_alone() -> None:
    """Series of one figure that differ in colour differ in marker or dashes too."""
    root = read(render_page(whole()))
    for figure in root.all("figure"):
        looks = []
        for entry in figure.all("li"):
            svg = entry.one("svg")
            paths = [(p.attrs["class"].split(), p.attrs["d"]) for p in svg.all("path")]
            shape = tuple(
                (tuple(c for c in classes if not re.fullmatch(r"c\d", c)), d)
                for classes, d in paths
            )
            looks.append(shape)
        assert len(looks) == len(set(looks)), figure.attrs["id"]
