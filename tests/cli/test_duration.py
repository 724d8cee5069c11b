from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.cli.duration import format_seconds, parse_duration
from energytune.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400)],
)
def test_parses(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(f" {text.upper()} ") == seconds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("30", "no unit after 30"),
        ("1h30", "no unit after 30"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("soon", "must be a duration, got 'soon'"),
        ("", "must be a duration"),
        ("-3m", "must be a duration"),
        ("m", "must be a duration"),
        ("0s", "longer than 0 s"),
    ],
)
def test_refuses_and_says_how(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"for example 90s, 30m, 2h") as error:
        parse_duration(text)
    assert told in str(error.value)


@given(st.integers(1, 10**6))
def test_whole_seconds_come_back(seconds: int) -> None:
    assert parse_duration(f"{seconds}s") == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.99, "10 s"),
        (59.7, "1:00"),
        (185, "3:05"),
        (3723, "1:02:03"),
    ],
)
def test_formats(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_more_than_a_thousand_years_are_refused() -> None:
    for text in ("9" * 400 + "d", "400000d"):
        with pytest.raises(ConfigError, match="at most 1000 years"):
            parse_duration(text)
