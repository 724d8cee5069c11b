from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import DataError
from energytune.science import (
    average_initial_energy,
    class_balanced_energy,
    energy_per_label,
    label_balanced_energy,
    residual_norms,
)
from energytune.tasks import MultiLabel, PerPixel


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    norms = torch.tensor([0.0, 0.0, 0.0, 1.0, 7.0])
    classes = torch.tensor([5, 5, 5, 2, 255])
    assert float(class_balanced_energy(norms, classes, classes != 255)) == 0.5
    assert float(class_balanced_energy(norms, classes)) == pytest.approx(8 / 3)


def test_an_empty_head_does_not_look_converged() -> None:
    targets = torch.zeros(100, 1)
    targets[:5] = 1
    residual = MultiLabel(1).residual(torch.full((100, 1), -20.0), targets)
    assert average_initial_energy(residual) == pytest.approx(0.05, abs=1e-6)
    assert float(label_balanced_energy(residual, targets)) == pytest.approx(0.5, abs=1e-6)


def test_balance_over_the_classes_of_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (2, 4, 5), generator=generator)
    targets[0, :2] = 255
    task = PerPixel(3)
    residual = task.residual(torch.randn(2, 3, 4, 5, 2, generator=generator), targets)
    norms = residual_norms(residual)
    balanced = class_balanced_energy(norms, targets, task.labelled(targets))
    expected = torch.stack([norms[targets == c].mean(dim=0) for c in range(3)]).mean(dim=0)
    torch.testing.assert_close(balanced, expected)


@given(st.integers(0, 2**31))
def test_balance_over_labels_is_the_mean_of_means_by_hand(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(-1, 2, (7, 3), generator=generator).float()
    targets[targets < 0] = torch.nan
    targets[0, 0] = 1.0
    residual = torch.rand(7, 3, 2, generator=generator) - 0.5
    means = [
        residual[targets[:, label] == value, label].abs().double().mean(dim=0)
        for label in range(3)
        for value in (0, 1)
        if bool((targets[:, label] == value).any())
    ]
    torch.testing.assert_close(
        label_balanced_energy(residual, targets), torch.stack(means).mean(dim=0)
    )


@given(st.integers(0, 2**31), st.integers(2, 5))
def test_repeating_a_class_does_not_move_the_balanced_energy(seed, times) -> None:
    generator = torch.Generator().manual_seed(seed)
    norms = torch.rand(8, generator=generator).double()
    classes = torch.randint(4, (8,), generator=generator)
    repeats = torch.where(classes == classes[0], times, 1)
    again = class_balanced_energy(
        norms.repeat_interleave(repeats), classes.repeat_interleave(repeats)
    )
    assert float(again) == pytest.approx(float(class_balanced_energy(norms, classes)), abs=1e-12)
    assert float(norms.min()) - 1e-12 <= float(again) <= float(norms.max()) + 1e-12


def test_energy_per_label_by_hand() -> None:
    residual = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    known = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    expected = (1 / math.sqrt(2) + 0.25) / 2
    assert float(energy_per_label(residual, known)) == pytest.approx(expected)
    heads = energy_per_label(torch.stack([residual, 2 * residual], dim=2), known)
    assert heads.tolist() == pytest.approx([expected, 2 * expected])


@pytest.mark.parametrize(
    "energy",
    [
        lambda: class_balanced_energy(torch.zeros(2), torch.zeros(2).long(), torch.zeros(2) > 0),
        lambda: label_balanced_energy(torch.zeros(2, 3), torch.full((2, 3), torch.nan)),
        lambda: energy_per_label(torch.zeros(2, 3), torch.zeros(2, 3) > 0),
    ],
)
def test_no_labelled_sample_has_no_energy(energy) -> None:
    with pytest.raises(DataError, match="needs at least one, got 0"):
        energy()
