from __future__ import annotations

from typing import Any

import pytest

from energytune.tracking.journal_entry import is_entry

RUN = {
    "kind": "run", "uid": "a", "parent": None, "experiment": "e", "name": "n", "start_ms": 1,
    "tags": {}, "params": {"tau": "8"},
}  # fmt: skip
LOG = {"kind": "log", "uid": "a", "metrics": [["m", 0.5, 1, 2]], "tags": {"a": "b"}}
FILE = {"kind": "file", "uid": "a", "path": "x"}
END = {"kind": "end", "uid": "a", "status": "FINISHED", "end_ms": 1, "tags": {}}


@pytest.mark.parametrize("entry", [RUN, LOG, FILE, END, {**RUN, "parent": "p", "later": 1}])
def test_what_the_observer_writes_is_an_entry(entry: dict[str, Any]) -> None:
    assert is_entry(entry)


@pytest.mark.parametrize("entry", [RUN, LOG, FILE, END])
def test_an_entry_that_lacks_a_key_is_none(entry: dict[str, Any]) -> None:
    for name in entry:
        assert not is_entry({k: v for k, v in entry.items() if k != name})


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {**RUN, "kind": ["run"]},
        {**RUN, "uid": 7},
        {**RUN, "start_ms": 2**80},
        {**RUN, "start_ms": True},
        {**RUN, "tags": {"a": 1}},
        {**RUN, "params": []},
        {**LOG, "metrics": [["m", "0.5", 1, 2]]},
        {**LOG, "metrics": [["m", 0.5, 1]]},
        {**LOG, "metrics": [["m", 0.5, 1, 2.5]]},
        {**FILE, "path": None},
        {**END, "tags": None},
    ],
)
def test_values_of_another_kind_are_no_entry(entry: Any) -> None:
    assert not is_entry(entry)
