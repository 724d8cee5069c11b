"""What a Ray of our own is started with."""

from __future__ import annotations

import pytest

from energytune.cluster.local import _private_settings


@pytest.mark.parametrize(("users", "expected"), [(None, "0"), ("15", "15")])
def test_workers_keep_the_priority_of_the_search_unless_told_otherwise(
    users: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    if users is not None:
        monkeypatch.setenv("RAY_worker_niceness", users)
    assert _private_settings(())["RAY_worker_niceness"] == expected
