from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.config.sizes import format_bytes, parse_bytes
from energytune.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("20GB", 20 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5 tb", 1_500_000_000_000),
        ("100 B", 100),
        ("0", 0),
        ("0GB", 0),
        ("3kib", 3072),
    ],
)
def test_sizes_as_people_write_them(text: str, n_bytes: int) -> None:
    assert parse_bytes(text, "--cache-budget") == n_bytes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a size"),
        ("lots", "must be a size"),
        ("-1GB", "must be a size"),
        ("1e9B", "must be a size"),
        ("GB", "must be a size"),
        ("20", "must have a unit"),
        ("20GBit", "unknown unit 'gbit'"),
    ],
)
def test_what_is_no_size_is_told_with_name_value_and_advice(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_bytes(text, "--cache-budget")
    assert str(caught.value).startswith("--cache-budget")
    assert repr(text) in str(caught.value)
    assert "20GB" in str(caught.value)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (25_300_000_000, "25.3 GB"),
        (2 * 10**12, "2.0 TB"),
    ],
)
def test_sizes_for_people(n_bytes: int, text: str) -> None:
    assert format_bytes(n_bytes) == text


@given(st.integers(0, 10**15))
def test_what_is_printed_can_be_read_and_is_near(n_bytes: int) -> None:
    assert parse_bytes(format_bytes(n_bytes), "x") == pytest.approx(n_bytes, rel=0.051)


@pytest.mark.parametrize("text", ["9" * 400 + "GB", "1" * 5000, "0" * 21 + "1B"])
def test_numbers_without_end_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_bytes(text, "--cache-budget")
