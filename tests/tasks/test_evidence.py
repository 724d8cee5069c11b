"""Evidence: what was gathered makes the meter's score again, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from energytune.errors import DataError
from energytune.tasks import MultiLabel, PerPixel
from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tasks.gather import EvidenceGatherer
from tests.tasks.targets import CASES, Case


def gathered(case: Case, batch_size: int, dtype: torch.dtype = torch.float32) -> Evidence:
    gatherer = EvidenceGatherer(case.task)
    logits = case.logits[..., 0].to(dtype)
    for q, y in zip(logits.split(batch_size), case.targets.split(batch_size), strict=True):
        gatherer.add(q, y)
    return gatherer.evidence()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_score_is_the_meters_exactly(case: Case, dtype: torch.dtype) -> None:
    meter = case.task.meter()
    meter.update(case.logits[..., 0].to(dtype), case.targets)
    for batch_size in (1, 4, 100):
        evidence = gathered(case, batch_size, dtype)
        assert evidence.score() == float(meter.compute())
        assert evidence.n_examples == len(case.targets)
        assert evidence.digest() == gathered(case, 3, dtype).digest()


def test_labels_missing_as_nan_or_negative_are_the_same() -> None:
    task, logits = MultiLabel(2), torch.zeros(3, 2)
    found = []
    for missing in (torch.nan, -1.0):
        gatherer = EvidenceGatherer(task)
        gatherer.add(logits, torch.tensor([[1.0, missing], [0.0, 1.0], [missing, 0.0]]))
        found.append(gatherer.evidence())
    assert found[0].digest() == found[1].digest()
    assert found[0].arrays["targets"].tolist() == [[1, -1], [0, 1], [-1, 0]]


def test_pixels_are_counted_by_image_and_class() -> None:
    targets = torch.tensor([[[0, 1], [1, 255]], [[2, 2], [2, 2]]])
    predicted = torch.tensor([[[0, 0], [1, 2]], [[2, 2], [0, 1]]])
    logits = torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()
    gatherer = EvidenceGatherer(PerPixel(3))
    gatherer.add(logits, targets)
    first, second = gatherer.evidence().arrays["counts"].tolist()
    assert first == [[1, 1, 0], [2, 1, 0], [1, 2, 0]]  # hits, predicted, labelled
    assert second == [[0, 0, 2], [1, 1, 2], [0, 0, 4]]


def test_what_is_kept_is_a_copy() -> None:
    case = CASES["multi-label"]
    gatherer = EvidenceGatherer(case.task)
    logits = case.logits[..., 0].float().contiguous()
    gatherer.add(logits, case.targets)
    before = gatherer.evidence().digest()
    logits.zero_()
    assert gatherer.evidence().digest() == before


def test_every_example_changes_the_digest() -> None:
    digests = {evidence_of_correct([i == j for j in range(9)]).digest() for i in range(9)}
    assert len(digests) == 9


BROKEN = {
    "another metric": ("f1", {"correct": np.zeros(3)}),
    "another name": ("accuracy", {"right": np.zeros(3)}),
    "too many dimensions": ("accuracy", {"correct": np.zeros((3, 2))}),
    "lengths that differ": (
        "roc_auc",
        {"scores": np.zeros((3, 2)), "targets": np.zeros((4, 2))},
    ),
    "not finite": (
        "roc_auc",
        {"scores": np.full((3, 2), np.nan), "targets": np.zeros((3, 2))},
    ),
}


@pytest.mark.parametrize(("metric", "arrays"), BROKEN.values(), ids=BROKEN)
def test_broken_evidence_is_refused(metric: str, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="Test the model again"):
        Evidence(metric, arrays)


def test_no_batch_is_no_evidence() -> None:
    with pytest.raises(DataError, match="no example"):
        EvidenceGatherer(MultiLabel(2)).evidence()


def test_evidence_does_not_change() -> None:
    with pytest.raises(AttributeError):
        evidence_of_correct([True]).metric = "miou"  # type: ignore[misc]
    assert replace(evidence_of_correct([True]), metric="accuracy").score() == 1.0
