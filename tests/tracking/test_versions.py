from __future__ import annotations

import base64
import zlib

import pytest

from energytune.tracking.versions import pack_correct, unpack_correct


@pytest.mark.parametrize("correct", [(), (True,), (True, False, True) * 100])
def test_correctness_comes_back(correct: tuple[bool, ...]) -> None:
    assert unpack_correct(pack_correct(correct)) == correct


@pytest.mark.parametrize("length", ["8", "-8", str(10**12), "x", "9" * 5000])
def test_a_tag_that_unfolds_to_more_than_it_says_is_damaged(length: str) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(1 << 20), 9)).decode()
    with pytest.raises(ValueError, match="damaged record"):
        unpack_correct(f"{length}:{bomb}")
