"""The site in a real browser: formulas, search and dark mode work, and nobody else is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browsers import Browser
from tests.pages import wait_for

pytestmark = pytest.mark.integration


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this machine."""
    handler = partial(_Silent, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("page", ["index", "tutorial", "science", "api/science", "guides/report"])
def test_a_page_asks_nobody_else_and_has_no_errors(
    browser: Browser, address: str, page: str
) -> None:
    browser.open(f"{address}/{page}.html")
    wait_for(browser, "document.readyState === 'complete'")
    asked = [request for request in browser.requests() if not request.startswith("data:")]
    assert len(asked) >= 4
    assert [request for request in asked if not request.startswith(f"{address}/")] == []
    assert browser.console() == []


def test_formulas_are_drawn(browser: Browser, address: str) -> None:
    browser.open(f"{address}/science.html")
    wait_for(browser, "document.readyState === 'complete'")
    boxes = browser.run(
        "return [...document.querySelectorAll('math')].map(m => {"
        "const b = m.getBoundingClientRect(); return [b.width, b.height]})"
    )
    assert len(boxes) >= 80
    assert min(width for width, _ in boxes) >= 3
    assert min(height for _, height in boxes) >= 5
    fraction = browser.run(
        "const f = document.querySelector('math[display=block] mfrac');"
        "return [...f.children].map(c => c.getBoundingClientRect().top)"
    )
    assert fraction[0] < fraction[1]  # one above the other, so it is MathML that is drawn


def test_the_search_finds_a_function(browser: Browser, address: str) -> None:
    browser.open(f"{address}/index.html?q=reserved_energy")
    wait_for(browser, "document.querySelectorAll('.md-search-result__item').length")
    found = browser.run("return document.querySelector('.md-search-result__list').textContent")
    assert "reserved_energy" in found


def test_a_reader_who_prefers_dark_gets_it_and_may_change(browser: Browser, address: str) -> None:
    scheme = "document.body.getAttribute('data-md-color-scheme')"
    for dark, wanted, other in ((True, "slate", "Light mode"), (False, "default", "Dark mode")):
        # a choice that was made before is kept: it is forgotten where no script writes it again
        browser.open(f"{address}/search/search_index.json")
        browser.run("localStorage.clear()")
        browser.open(f"{address}/index.html", dark=dark)
        toggle = f"document.querySelector('label[title=\"{other}\"]:not([hidden])')"
        wait_for(browser, f"{scheme} === '{wanted}' && {toggle}")  # it shows once it works
        browser.run(f"{toggle}.click()")
        wait_for(browser, f"{scheme} !== '{wanted}'")
