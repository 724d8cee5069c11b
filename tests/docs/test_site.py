"""The site loads nothing from outside, and everything is in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import energytune
from energytune import errors, science


def html_pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


class Loads(HTMLParser):
    """Collects what a browser loads for a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.styles.append(told.get("style", ""))
        if tag == "a":
            self.links.append(told.get("href", ""))
        elif tag == "link" and told.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(told["href"])
        elif tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "image"):
            found = [told.get(name, "") for name in ("src", "srcset", "href", "data")]
            self.loaded += [address for address in found if address]

    def handle_data(self, data: str) -> None:
        if "@import" in data or "url(" in data:
            self.styles.append(data)


def loads_of(text: str) -> Loads:
    found = Loads()
    found.feed(text)
    return found


def is_outside(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


@pytest.mark.parametrize(
    ("page", "outside"),
    [
        ('<script src="https://unpkg.com/x.js"></script>', True),
        ('<link rel="preconnect" href="//fonts.gstatic.com">', True),
        ('<link rel="stylesheet" href="https://x.org/a.css">', True),
        ('<img src="http://x.org/a.png">', True),
        ('<script src="assets/a.js"></script><a href="https://x.org">x</a>', False),
        ('<link rel="canonical" href="https://x.org/">', False),
    ],
)
def test_what_is_loaded_from_outside_is_seen(page: str, outside: bool) -> None:
    assert any(map(is_outside, loads_of(page).loaded)) is outside


@pytest.mark.integration
def test_the_site_loads_nothing_from_outside(site: Path) -> None:
    pages = html_pages(site)
    assert len(pages) > 25
    for page in pages:
        found = loads_of(page.read_text(encoding="utf-8"))
        assert found.loaded, page
        for address in found.loaded:
            assert not is_outside(address), f"{page}: {address}"
            if page.name != "404.html" and not address.startswith("data:"):  # of the site's root
                path = unquote(urlsplit(address).path)
                assert (page.parent / path).is_file(), f"{page}: {address}"
        for style in found.styles:
            assert not re.search(r"@import|url\(\s*[\"']?(?!data:)[^)]*//", style), (
                f"{page}: {style}"
            )
        # The theme would load this one's script from elsewhere.
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8")


@pytest.mark.integration
def test_its_style_sheets_load_nothing_from_outside(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert len(sheets) >= 3
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        addresses = re.findall(r"url\(\s*[\"']?([^)\"']+)", text)
        assert [a for a in addresses if is_outside(a)] == []
        assert "@import" not in text


@pytest.mark.integration
def test_links_within_the_site_lead_to_pages_and_places_of_it(site: Path) -> None:
    for page in html_pages(site):
        if page.name == "404.html":
            continue
        for link in loads_of(page.read_text(encoding="utf-8")).links:
            if is_outside(link) or not link:
                continue
            parts = urlsplit(link)
            target = (page.parent / unquote(parts.path)) if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page}: {link}"
            if parts.fragment and target.suffix == ".html":
                place = unquote(parts.fragment)
                text = target.read_text(encoding="utf-8")
                assert f'id="{place}"' in text or place.startswith("__"), f"{page}: {link}"


@pytest.mark.integration
def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    page = (site / "science.html").read_text(encoding="utf-8")
    formulas = re.findall(r"<math.*?</math>", page, re.DOTALL)
    assert len(formulas) >= 80
    assert sum('display="block"' in formula for formula in formulas) >= 14
    for formula in formulas:  # what the converter did not know stands in it as text
        assert not re.search(r"\\|&#x00026;|&amp;", formula)
    assert not re.search(r"arithmatex|\\\(|\\\[|\$\$", page)


@pytest.mark.integration
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    places = {
        place
        for page in (site / "api").glob("*.html")
        for place in re.findall(r'id="(energytune\.[\w.]+)"', page.read_text(encoding="utf-8"))
    }
    public = [getattr(energytune, name) for name in energytune.__all__ if name != "__version__"]
    public += [getattr(science, name) for name in science.__all__]
    public += [getattr(errors, name) for name in errors.__all__]
    names = {f"{thing.__module__}.{thing.__qualname__}" for thing in public}
    assert names - places == set()


@pytest.mark.integration
def test_docstrings_are_shown_to_the_letter(site: Path) -> None:
    page = (site / "api" / "science.html").read_text(encoding="utf-8")
    assert "(N, *rest) float64" in page
    assert "||B_T - B_0||^2 = a^T K_B a" in page
    assert not re.search(r":(func|class|mod|data|meth|attr):", page)
    assert "]_" not in page
    assert 'href="../science.html#ren2023"' in page


@pytest.mark.integration
def test_the_site_is_searched_without_a_server_of_others(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = [entry["location"] for entry in index["docs"] if "reserved_energy" in entry["location"]]
    assert found
    assert (site / "assets" / "javascripts" / "workers").is_dir()


@pytest.mark.integration
def test_the_site_has_a_dark_mode(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'data-md-color-scheme="slate"' in page
    assert 'data-md-color-scheme="default"' in page
