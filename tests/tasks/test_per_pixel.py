from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from energytune.errors import ConfigError
from energytune.tasks import Multiclass, PerPixel
from tests.tasks.targets import images


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_loss_is_pytorchs_over_the_labelled_pixels(label_smoothing) -> None:
    case = images(n_heads=1)
    logits = case.logits[..., 0]
    expected = F.cross_entropy(
        logits, case.targets, ignore_index=255, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(case.task.loss(logits, case.targets, label_smoothing), expected)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_images_are_their_labelled_pixels_as_samples(label_smoothing) -> None:
    case = images()
    known = case.targets != 255
    rows, wanted = case.logits.movedim(1, 3)[known], case.targets[known]
    alike = Multiclass(case.task.n_outputs)
    torch.testing.assert_close(
        case.task.loss(case.logits, case.targets, label_smoothing),
        alike.loss(rows, wanted, label_smoothing),
    )
    for name in ("residual", "loss_gradient"):
        of_images = getattr(case.task, name)(case.logits, case.targets, label_smoothing)
        of_rows = getattr(alike, name)(rows, wanted, label_smoothing)
        torch.testing.assert_close(of_images.movedim(1, 3)[known], of_rows)
        assert bool((of_images.movedim(1, 3)[~known] == 0).all())
    assert torch.equal(
        case.task.n_correct(case.logits, case.targets), alike.n_correct(rows, wanted)
    )


def test_what_is_labelled_by_hand() -> None:
    targets = torch.tensor([[[0, 255], [1, 1]]])
    task = PerPixel(2)
    assert task.labelled(targets).tolist() == [[[True, False], [True, True]]]
    assert task.n_labelled(targets) == 3
    soft = task.soft_targets(targets, 0.2)
    torch.testing.assert_close(soft[0, 0], torch.tensor([[0.9, 0.0], [0.1, 0.1]]))
    torch.testing.assert_close(soft[0, 1], torch.tensor([[0.1, 0.0], [0.9, 0.9]]))
    assert task.metric == "miou"


def test_another_index_to_ignore() -> None:
    targets, logits = torch.tensor([0, -1, 1]), torch.eye(3)[:, :2]
    task = PerPixel(2, ignore_index=-1)
    assert task.correct(logits, targets).tolist() == [True, False, False]
    expected = F.cross_entropy(logits, targets, ignore_index=-1)
    torch.testing.assert_close(task.loss(logits, targets), expected)


@pytest.mark.parametrize("ignore_index", [0, 20])
def test_a_class_can_not_be_ignored(ignore_index) -> None:
    with pytest.raises(ConfigError, match=f"one of the 21 classes, got {ignore_index}"):
        PerPixel(21, ignore_index)
