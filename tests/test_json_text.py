from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.json_text import parse_json, read_json


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "", b"\xff", "1" * 5000])
def test_whatever_is_wrong_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any text
        parse_json(text)


@given(st.text() | st.binary())
def test_no_text_raises_anything_else(text: str | bytes) -> None:
    try:
        parse_json(text)
    except ValueError:
        return


def test_files_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, null, "x"]}')
    assert read_json(path) == {"a": [1, None, "x"]}
    monkeypatch.setattr("energytune.json_text.MAX_BYTES", 10)
    with pytest.raises(ValueError, match="more than"):
        read_json(path)
