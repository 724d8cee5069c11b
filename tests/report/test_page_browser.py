"""The page in a real browser: on a phone and on a desk, light and dark, and printed."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from energytune.report.page import render_page
from tests.browsers import Browser
from tests.report.pages import FIGURES, hostile, thousands, whole

pytestmark = pytest.mark.integration
WIDTHS = (360, 390, 1280)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    many = thousands(400)
    best = max(many, key=lambda r: r.objective or 0.0)
    made = {
        "whole": whole(),
        "interrupted": whole(state="interrupted", confirmations=[], confirmed=[]),
        "empty": whole(records=[], winner=None, baselines={}, confirmations=[], map_rows=[]),
        "hostile": hostile(),
        "many": whole(records=many, winner=best, baselines={}, confirmations=[]),
    }
    for name, data in made.items():
        (folder / f"{name}.html").write_text(render_page(data))
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["whole", "interrupted", "empty", "hostile", "many"])
def test_nothing_runs_out_of_the_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], width=width)
    needed, there = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert there == width
    assert needed <= there


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_can_be_seen(browser: Browser, pages: dict[str, Path], width: int) -> None:
    browser.open(pages["whole"], width=width)
    boxes = browser.run(
        "return [...document.querySelectorAll('figure svg[role=img]')].map(s => {"
        "const b = s.getBoundingClientRect(); return [s.closest('figure').id, b.width, b.height]})"
    )
    assert {name for name, _, _ in boxes} == {f"fig-{key}" for key in FIGURES}
    assert all(w >= 0.6 * min(width, 380) and h >= 90 for _, w, h in boxes)


@pytest.mark.parametrize("width", WIDTHS)
def test_text_in_figures_is_large_enough_to_read(
    browser: Browser, pages: dict[str, Path], width: int
) -> None:
    browser.open(pages["whole"], width=width)
    sizes = browser.run(
        "return [...document.querySelectorAll('figure svg[role=img] text')].map(t => {"
        "const s = t.ownerSVGElement; const scale = s.getBoundingClientRect().width "
        "/ s.viewBox.baseVal.width; return parseFloat(getComputedStyle(t).fontSize) * scale})"
    )
    assert len(sizes) > 50
    assert min(sizes) >= 9.5


def test_the_ticks_of_a_phone_do_not_run_into_each_other(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["whole"], width=390)
    overlaps = browser.run(
        "let bad = []; for (const s of document.querySelectorAll('svg[role=img]')) {"
        "const boxes = [...s.querySelectorAll('.xtick')].map(t => t.getBoundingClientRect());"
        "for (let i = 1; i < boxes.length; i++) if (boxes[i].left < boxes[i - 1].right)"
        "bad.push(s.closest('figure').id)} return bad"
    )
    assert overlaps == []


@pytest.mark.parametrize("name", ["whole", "hostile", "many"])
def test_the_console_is_silent_and_nothing_is_asked_for(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name])
    assert browser.console() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [pages[name].as_uri()]
    assert browser.run("return document.scripts.length") == 0


def test_the_page_s_own_policy_stops_what_would_be_smuggled_in(
    browser: Browser, tmp_path: Path
) -> None:
    """Were a text not escaped, the browser would still load and run nothing."""
    smuggled = "<script>document.title = 'hit'</script><img src='http://127.0.0.1:9/x.png'>"
    path = tmp_path / "smuggled.html"
    path.write_text(render_page(whole()).replace("</main>", f"{smuggled}</main>"))
    browser.open(path)
    assert browser.driver.title == "energytune: digits"
    assert sum("Content Security Policy" in line for line in browser.console()) >= 2


def test_dark_readers_get_a_dark_page(browser: Browser, pages: dict[str, Path]) -> None:
    def shades() -> tuple[float, float, float]:
        found = browser.run(
            "const of = s => getComputedStyle(document.querySelector(s)); return "
            "[of('body').backgroundColor, of('main p').color, of('svg .xlabel').fill]"
        )
        ground, ink, label = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in found)
        return ground, ink, label

    browser.open(pages["whole"], dark=True)
    ground, ink, label = shades()
    assert ground < 40
    assert min(ink, label) > 200
    browser.open(pages["whole"], dark=False)
    ground, ink, label = shades()
    assert ground > 230
    assert max(ink, label) < 60


def test_it_prints_in_black_on_white_with_its_figures(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["whole"], dark=True)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    wide = browser.run(
        "const w = document.body.clientWidth;"
        "return [...document.querySelectorAll('svg[role=img]')]"
        ".filter(s => s.getBoundingClientRect().right > w + 1).length"
    )
    assert wide == 0
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 14
    drawn = b"".join(
        zlib.decompress(part)
        for part in re.findall(rb"stream\r?\n(x.*?)endstream", printed, re.DOTALL)
        if part[:1] == b"x"
    )
    assert drawn.count(b" l\n") > 200  # the lines of the figures


def test_the_numbers_open_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(pages["whole"])
    summary = browser.driver.find_element("css selector", "#fig-tau summary")
    summary.send_keys(Keys.ENTER)
    assert browser.run("return document.querySelector('#fig-tau details').open")
    rows = browser.run("return document.querySelectorAll('#fig-tau tbody tr').length")
    assert rows == 3
