"""Meters of several processes, made one."""

from __future__ import annotations

import pytest
import torch

from tests.tasks.targets import CASES


@pytest.mark.parametrize("kind", CASES)
def test_merged_meters_have_seen_what_one_would_have(kind: str) -> None:
    case = CASES[kind]
    whole, first, second = (case.task.meter() for _ in range(3))
    whole.update(case.logits, case.targets)
    cut = len(case.logits) // 2
    first.update(case.logits[:cut], case.targets[:cut])
    second.update(case.logits[cut:], case.targets[cut:])
    first.merge(second)
    assert torch.equal(first.compute(), whole.compute())


@pytest.mark.parametrize("kind", CASES)
def test_an_empty_meter_takes_and_adds_nothing_else(kind: str) -> None:
    case = CASES[kind]
    full, empty = case.task.meter(), case.task.meter()
    full.update(case.logits, case.targets)
    expected = full.compute()
    full.merge(case.task.meter())
    empty.merge(full)
    assert torch.equal(full.compute(), expected)
    assert torch.equal(empty.compute(), expected)
