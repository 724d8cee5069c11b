from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import jaccard_score, roc_auc_score

from energytune.tasks import MultiLabel, PerPixel
from energytune.tasks.scores import (
    confusion_matrix,
    largest_class,
    mean_iou,
    mean_roc_auc,
    roc_auc_of_labels,
)

seeds = st.integers(0, 2**31)


def labels(seed: int, n_levels: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (N, L, 2) with many ties, and targets (N, L), some of them missing."""
    generator = torch.Generator().manual_seed(seed)
    shape = [int(torch.randint(1, high, (), generator=generator)) for high in (30, 5)]
    scores = torch.randint(n_levels, (*shape, 2), generator=generator).float()
    return scores, torch.randint(-1, 2, shape, generator=generator)


def sklearn_area(scores: torch.Tensor, targets: torch.Tensor) -> float:
    known = targets >= 0
    if len(targets[known].unique()) < 2:
        return np.nan
    return float(roc_auc_score(targets[known].numpy(), scores[known].numpy()))


@given(seeds)
def test_areas_are_scikit_learns(seed) -> None:
    scores, targets = labels(seed)
    areas = roc_auc_of_labels(scores, targets)
    assert areas.shape == scores.shape[1:]
    expected = [
        [sklearn_area(scores[:, label, head], targets[:, label]) for head in range(2)]
        for label in range(targets.shape[1])
    ]
    np.testing.assert_allclose(areas.numpy(), expected, rtol=1e-12)
    known = [row for row in expected if not np.isnan(row).any()]
    mean = np.mean(known, axis=0) if known else [0.5, 0.5]
    np.testing.assert_allclose(mean_roc_auc(scores, targets).numpy(), mean, rtol=1e-12)


@given(seeds)
def test_only_the_order_of_the_scores_counts(seed) -> None:
    scores, targets = labels(seed)
    area = mean_roc_auc(scores, targets)
    assert torch.equal(mean_roc_auc(1e3 * scores - 7, targets), area)
    torch.testing.assert_close(mean_roc_auc(-scores, targets), 1 - area, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("scores", "targets", "area"),
    [
        ([0.0, 1.0], [0, 1], 1.0),
        ([1.0, 0.0], [0, 1], 0.0),
        ([2.0, 2.0, 2.0], [0, 1, 1], 0.5),
        ([1.0, 3.0, 3.0, 2.0], [0, 0, 1, 1], 0.625),  # three wins of four, one of them a tie
        ([1.0, 9.0, 2.0], [0, -1, 1], 1.0),
        ([40.0, 60.0, 50.0, 70.0], [0, 1, 0, 1], 1.0),  # every sigmoid rounds to 1
        ([1e4, -1e4], [1, 0], 1.0),
        ([1.0, 2.0], [1, 1], 0.5),
        ([1.0, 2.0], [0, -1], 0.5),
        ([1.0, 2.0], [-1, -1], 0.5),
    ],
)
def test_areas_by_hand(scores, targets, area) -> None:
    meter = MultiLabel(1).meter()
    meter.update(torch.tensor(scores)[:, None], torch.tensor(targets)[:, None])
    assert float(meter.compute()) == area


def test_labels_with_one_class_do_not_enter_the_mean() -> None:
    scores = torch.tensor([[0.0, 5.0, 1.0], [1.0, 1.0, 0.0]])
    targets = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, torch.nan]])
    assert float(mean_roc_auc(scores, targets)) == 1.0
    assert roc_auc_of_labels(scores, targets).isnan().tolist() == [False, True, True]


def pixels(seed: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Logits (R, K, 2) and targets (R,), with classes that never occur and pixels to ignore."""
    generator = torch.Generator().manual_seed(seed)
    n_rows, n_classes = (int(torch.randint(2, 9, (), generator=generator)) for _ in range(2))
    targets = torch.randint(n_classes, (n_rows,), generator=generator)
    targets[torch.rand(n_rows, generator=generator) < 0.2] = 255
    targets[0] = 0
    return torch.randn(n_rows, n_classes, 2, generator=generator), targets, n_classes


@given(seeds)
def test_miou_is_scikit_learns(seed) -> None:
    logits, targets, n_classes = pixels(seed)
    meter = PerPixel(n_classes).meter()
    for some, wanted in zip(logits.split(3), targets.split(3), strict=True):
        meter.update(some, wanted)
    known = targets != 255
    for head, score in enumerate(meter.compute().tolist()):
        predicted = logits[known, :, head].argmax(dim=1)
        # scikit-learn's default is the same rule: the classes of either
        expected = jaccard_score(targets[known].numpy(), predicted.numpy(), average="macro")
        assert score == pytest.approx(expected, rel=1e-12)


@given(seeds)
def test_confusion_is_scikit_learns(seed) -> None:
    logits, targets, n_classes = pixels(seed)
    known = targets != 255
    predicted, wanted = logits.argmax(dim=1)[known], targets[known]
    counts = confusion_matrix(predicted, wanted, n_classes)
    for head in range(2):
        expected = sklearn_confusion_matrix(
            wanted.numpy(), predicted[:, head].numpy(), labels=range(n_classes)
        )
        assert np.array_equal(counts[head].numpy(), expected)
        assert torch.equal(confusion_matrix(predicted[:, head], wanted, n_classes), counts[head])


@pytest.mark.parametrize(
    ("confusion", "score"),
    [
        ([[3, 0], [0, 5]], 1.0),
        ([[0, 3], [5, 0]], 0.0),
        ([[4, 0], [0, 0]], 1.0),  # the second class occurs nowhere
        ([[3, 1], [0, 0]], 0.375),  # 3/4, and 0 for a class that was predicted only
        ([[2, 2], [1, 3]], (2 / 5 + 3 / 6) / 2),
        ([[0, 0], [0, 0]], 0.0),
    ],
)
def test_miou_by_hand(confusion, score) -> None:
    assert float(mean_iou(torch.tensor(confusion))) == pytest.approx(score, rel=1e-15)


def test_images_and_their_rows_have_one_miou() -> None:
    logits = torch.randn(2, 3, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(40).reshape(2, 4, 5) % 4
    targets[targets == 3] = 255
    of_images, of_rows = PerPixel(3).meter(), PerPixel(3).meter()
    of_images.update(logits, targets)
    of_rows.update(logits.movedim(1, 3).flatten(0, 2), targets.flatten())
    assert torch.equal(of_images.compute(), of_rows.compute())


@given(seeds)
def test_the_largest_class_is_numpys_argmax_ties_and_all(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(3, (3, 4, 5, 2), generator=generator).float()
    logits[0, :, 0, 0] = torch.inf
    assert np.array_equal(largest_class(logits).numpy(), np.argmax(logits.numpy(), axis=1))
