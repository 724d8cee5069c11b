from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.report.chart import Axis
from energytune.report.scales import fit_axis, position, ticks


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        (Axis("", "linear", 0.0, 1.0), [0.0, 0.25, 1.0]),
        (Axis("", "percent", -1.0, 1.0), [-1.0, -0.5, 1.0]),
        (Axis("", "tau", 0.0, 3.0), [0.0, math.sqrt(2.0) - 1.0, 3.0]),
        (Axis("", "log", 0.01, 1.0), [0.01, 10**-1.5, 1.0]),
    ],
)
def test_the_ends_and_a_quarter_are_where_they_belong(axis: Axis, values: list[float]) -> None:
    assert [position(axis, v) for v in values] == pytest.approx([0.0, 0.25, 1.0])


@pytest.mark.parametrize(
    ("axis", "n", "texts"),
    [
        (Axis("", "percent", 0.84, 0.951), 6, ["84 %", "86 %", "88 %", "90 %", "92 %", "94 %"]),
        (Axis("", "percent", 0.85, 0.95), 4, ["85.0 %", "87.5 %", "90.0 %", "92.5 %", "95.0 %"]),
        (Axis("", "percent", 0.9, 0.904), 4, ["90.0 %", "90.1 %", "90.2 %", "90.3 %", "90.4 %"]),
        (Axis("", "linear", 0.0, 1.0), 6, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis("", "tau", -0.2, 5000), 6, ["0", "1", "4", "16", "64", "256", "1024", "4096"]),
        (Axis("", "log", 0.001, 0.02), 6, ["0.001", "0.002", "0.005", "0.01", "0.02"]),
        (Axis("", "none", 0.0, 1.0), 6, []),
    ],
)
def test_ticks_are_round_and_say_what_they_are(axis: Axis, n: int, texts: list[str]) -> None:
    assert [text for _, text in ticks(axis, n)] == texts


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e3), st.integers(2, 9))
def test_the_text_of_a_tick_is_its_value(low: float, size: float, n: int) -> None:
    axis = Axis("", "linear", low, low + size)
    found = ticks(axis, n)
    assert 1 <= len(found) <= 2 * n + 1
    step = found[1][0] - found[0][0] if len(found) > 1 else size
    for value, text in found:
        assert float(text.replace(",", "")) == pytest.approx(value, abs=1e-6 * step + 1e-12)
        assert axis.low - 1e-6 * size <= value <= axis.high + 1e-6 * size


@pytest.mark.parametrize("values", [[], [math.nan], [0.5], [0.2, 0.9, math.inf]])
def test_an_axis_holds_its_values_whatever_they_are(values: list[float]) -> None:
    axis = fit_axis("x", values)
    assert axis.low < axis.high
    assert all(axis.low <= v <= axis.high for v in values if math.isfinite(v))


def test_no_share_lies_beyond_the_ends_of_its_axis() -> None:
    axis = fit_axis("x", [0.0, 1.0], percent=True)
    assert (axis.low, axis.high) == (-0.01, 1.01)
