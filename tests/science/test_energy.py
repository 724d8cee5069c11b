from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from energytune.errors import DataError
from energytune.science import (
    average_initial_energy,
    energy_per_label,
    mean_energy,
    reserved_energy,
    residual_norms,
    uniform_energy,
)
from energytune.tasks import Multiclass, MultiLabel


def aie(logits: torch.Tensor, targets: torch.Tensor) -> float:
    return average_initial_energy(Multiclass(logits.shape[1]).residual(logits, targets))


def numpy_aie(logits: np.ndarray, targets: np.ndarray) -> float:
    """Independent reference: float64 numpy and scipy, sample by sample."""
    energies = []
    for row, target in zip(logits.astype(np.float64), targets, strict=True):
        gap = -softmax(row)
        gap[target] += 1.0
        energies.append(math.sqrt(float(gap @ gap)))
    return sum(energies) / len(energies)


@st.composite
def predictions(draw, max_logit: float = 50.0) -> tuple[torch.Tensor, torch.Tensor]:
    n_samples, n_classes = draw(st.integers(1, 8)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.floats(0, max_logit))
    logits = (2 * torch.rand(n_samples, n_classes, generator=generator) - 1) * scale
    targets = torch.randint(n_classes, (n_samples,), generator=generator)
    return logits, targets


# closed forms


@pytest.mark.parametrize("n_classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("level", [0.0, 7.5, -1e4, 1e4])
def test_uniform_prediction(n_classes, level) -> None:
    logits = torch.full((6, n_classes), level)
    targets = torch.arange(6) % n_classes
    expected = math.sqrt((n_classes - 1) / n_classes)
    assert aie(logits, targets) == pytest.approx(expected, rel=1e-6)
    assert uniform_energy(n_classes) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("n_classes", [2, 10, 100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.05, 0.3, 0.9])
def test_prediction_that_equals_smoothed_targets(n_classes, label_smoothing) -> None:
    targets = torch.arange(12) % n_classes
    soft = Multiclass(n_classes).soft_targets(targets, label_smoothing)
    expected = label_smoothing * math.sqrt((n_classes - 1) / n_classes)
    assert aie(soft.clamp_min(1e-45).log(), targets) == pytest.approx(expected, abs=2e-6)
    assert reserved_energy(label_smoothing, n_classes) == pytest.approx(expected, rel=1e-15)


def test_one_class_has_no_energy() -> None:
    assert uniform_energy(1) == 0.0
    assert reserved_energy(0.3, 1) == 0.0
    assert aie(torch.randn(4, 1), torch.zeros(4, dtype=torch.int64)) == 0.0


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_are_certain(size) -> None:
    # +1e4 at the target is certain and right; -1e4 leaves the other class: certain and wrong
    logits = torch.tensor([[size, 0.0], [0.0, size]])
    assert aie(logits, torch.tensor([0, 1])) == (0.0 if size > 0 else math.sqrt(2.0))


def test_huge_logits_of_both_signs_in_one_row() -> None:
    logits = torch.tensor([[1e4, -1e4, -1e4], [-1e4, 1e4, 1e4]])
    one = aie(logits[1:], torch.tensor([1]))
    assert one == pytest.approx(math.sqrt(0.5))
    assert aie(logits, torch.tensor([0, 1])) == pytest.approx(one / 2)


def test_certain_and_wrong() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]]).repeat(5, 1)
    assert aie(logits, torch.full((5,), 2)) == pytest.approx(math.sqrt(2.0), rel=1e-12)


@pytest.mark.parametrize(("n_tied", "is_tied"), [(2, True), (3, True), (2, False)])
def test_ties(n_tied, is_tied) -> None:
    logits = torch.full((1, 5), -1e4)
    logits[0, :n_tied] = 3.0
    if is_tied:  # e_y - p: 1 - 1/m at the target, -1/m at the m - 1 others
        assert aie(logits, torch.tensor([0])) == pytest.approx(uniform_energy(n_tied), rel=1e-6)
    else:  # the target is not among the tied: 1 and -1/m
        expected = math.sqrt(1 + 1 / n_tied)
        assert aie(logits, torch.tensor([4])) == pytest.approx(expected, rel=1e-6)


def test_it_is_the_mean_of_norms_not_the_norm_of_means() -> None:
    residual = torch.tensor([[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]])
    assert average_initial_energy(residual) == pytest.approx(10 / 3, rel=1e-15)


# labelled samples, pixels, heads


def test_the_energy_of_one_head_is_bit_for_bit_the_mean_of_float64_norms() -> None:
    residual = torch.randn(333, 17, generator=torch.Generator().manual_seed(0))
    assert average_initial_energy(residual) == float(residual.double().norm(dim=1).mean())


def test_norms_of_samples_pixels_and_heads() -> None:
    residual = torch.randn(3, 5, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    norms = residual_norms(residual)
    assert (norms.shape, norms.dtype) == ((3, 2, 4, 6), torch.float64)
    by_hand = residual[1, :, 0, 3, 2].double().square().sum().sqrt()
    torch.testing.assert_close(norms[1, 0, 3, 2], by_hand)


def test_samples_without_a_label_are_absent() -> None:
    residual = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    assert average_initial_energy(residual, torch.tensor([True, False, True])) == 2.5
    pixels = torch.tensor([[[1.0, 2.0], [9.0, 3.0]]])  # (1, 2, 2), unlabelled where 9
    assert float(mean_energy(pixels, pixels != 9.0)) == 2.0


def test_the_mean_energy_of_heads_is_that_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    residual = torch.randn(20, 5, 3, generator=generator)
    labelled = torch.rand(20, generator=generator) < 0.7
    means = mean_energy(residual_norms(residual), labelled)
    expected = [average_initial_energy(residual[..., m], labelled) for m in range(3)]
    torch.testing.assert_close(means, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("n_labels", [1, 4])
def test_the_energy_of_an_undecided_multi_label_head(n_labels) -> None:
    targets = (torch.arange(6).unsqueeze(1) + torch.arange(n_labels)) % 2
    residual = MultiLabel(n_labels).residual(torch.zeros(6, n_labels), targets)
    assert average_initial_energy(residual) == pytest.approx(math.sqrt(n_labels) / 2)
    assert float(energy_per_label(residual, targets >= 0)) == pytest.approx(0.5)


# errors


@pytest.mark.parametrize(
    "energy",
    [
        lambda: average_initial_energy(torch.zeros(2, 3), torch.tensor([False, False])),
        lambda: mean_energy(torch.zeros(0)),
    ],
)
def test_no_labelled_sample_has_no_energy(energy) -> None:
    with pytest.raises(DataError, match="needs at least one, got 0"):
        energy()


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 3, 4)])
def test_residuals_of_a_wrong_shape(shape) -> None:
    with pytest.raises(DataError, match=r"\(N, K\) with N >= 1"):
        average_initial_energy(torch.zeros(shape))


# properties


@given(predictions())
def test_equals_an_independent_reference(prediction) -> None:
    logits, targets = prediction
    assert aie(logits, targets) == pytest.approx(
        numpy_aie(logits.numpy(), targets.numpy()), abs=1e-6
    )


@given(predictions(max_logit=1e4))
def test_lies_between_zero_and_root_two(prediction) -> None:
    assert 0.0 <= aie(*prediction) <= math.sqrt(2.0) + 1e-6


@given(predictions(), st.randoms(use_true_random=False))
def test_order_of_samples_and_names_of_classes_do_not_matter(prediction, random) -> None:
    logits, targets = prediction
    samples = list(range(len(targets)))
    classes = list(range(logits.shape[1]))
    random.shuffle(samples)
    random.shuffle(classes)
    renamed = torch.empty_like(logits)
    renamed[:, classes] = logits  # class c becomes classes[c]
    relabelled = torch.tensor(classes)[targets]
    assert aie(renamed[samples], relabelled[samples]) == pytest.approx(
        aie(logits, targets), abs=1e-6
    )


@given(predictions(max_logit=10.0), st.floats(-100, 100))
def test_a_shift_of_a_rows_logits_does_not_matter(prediction, shift) -> None:
    logits, targets = prediction
    shifts = shift * torch.arange(1, len(targets) + 1).unsqueeze(1) / len(targets)
    assert aie(logits + shifts, targets) == pytest.approx(aie(logits, targets), abs=2e-5)


@given(predictions(), st.integers(0, 5))
def test_labels_and_logits_rotated_together(prediction, turn) -> None:
    logits, targets = prediction
    turned = (targets + turn) % logits.shape[1]
    assert aie(logits.roll(turn, dims=1), turned) == pytest.approx(aie(logits, targets), abs=1e-6)


@given(predictions(), st.integers(2, 4))
def test_every_sample_several_times_is_the_same_energy(prediction, times) -> None:
    logits, targets = prediction
    assert aie(logits.repeat(times, 1), targets.repeat(times)) == pytest.approx(
        aie(logits, targets), rel=1e-12
    )


@given(predictions())
def test_it_is_the_mean_over_any_two_halves(prediction) -> None:
    logits, targets = prediction
    n_left = len(targets) // 2
    if n_left == 0:
        return
    n_right = len(targets) - n_left
    halves = n_left * aie(logits[:n_left], targets[:n_left])
    halves += n_right * aie(logits[n_left:], targets[n_left:])
    assert halves / len(targets) == pytest.approx(aie(logits, targets), abs=1e-6)
