"""The page's colours, computed from its style sheet by the rules of WCAG 2.2."""

from __future__ import annotations

import re

import pytest

from energytune.report.page import style_sheet

TEXT = 4.5
GRAPHIC = 3.0
OKABE_ITO = {
    *("#000000", "#e69f00", "#56b4e9", "#009e73"),
    *("#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
}


def colours(scheme: str) -> dict[str, str]:
    """Returns the variables of ``"light"``, ``"dark"`` or ``"print"``."""
    blocks = re.findall(r"\.energytune \{([^}]*--ground:[^}]*)\}", style_sheet())
    assert len(blocks) == 3
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", block)) for block in blocks]
    return {"light": found[0], "dark": found[0] | found[1], "print": found[0] | found[2]}[scheme]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "ground"),
        ("ink", "card"),
        ("ink", "code"),
        ("soft", "ground"),
        ("soft", "card"),
        ("accent", "ground"),
        ("accent", "card"),
        ("warn", "warn-ground"),
    ],
)
def test_text_can_be_read(scheme: str, text: str, ground: str) -> None:
    found = colours(scheme)
    assert contrast(found[text], found[ground]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["c0", "c1", "c2", "c6", "muted", "soft"])
def test_what_carries_a_figure_can_be_seen(scheme: str, name: str) -> None:
    """The first three, the fit and the ring; further colours are told by marker and dash."""
    found = colours(scheme)
    assert contrast(found[name], found["card"]) >= GRAPHIC


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_series_have_the_colours_of_okabe_and_ito(scheme: str) -> None:
    found = colours(scheme)
    series = [found[f"c{i}"] for i in range(7)]
    assert len(set(series)) == 7
    assert set(series) <= OKABE_ITO | {"#ffffff"}


def test_every_variable_that_is_used_is_defined() -> None:
    css = style_sheet()
    used = set(re.findall(r"var\(--([\w-]+)\)", css))
    assert used - {"c"} <= set(re.findall(r"--([\w-]+):", css))
