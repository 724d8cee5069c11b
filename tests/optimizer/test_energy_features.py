from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.config import Recipe
from energytune.optimizer.energy_features import energy_features
from tests.optimizer.fakes import probe_at

RECIPE = Recipe(tau=0, ft_lr=1.0)
AMOUNTS = st.floats(0, 10)
RATES = st.floats(1e-5, 1)


def features(aie: float = 0.5, pull: float = 0.5, ft_lr: float = 0.01) -> tuple[float, ...]:
    snapshot = probe_at(0, RECIPE, aie=aie, pull_norm=pull)
    return energy_features(snapshot, ft_lr, aie_max=1.0, pull_max=2.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (features(), (1.0, -4.0, 2 * math.log10(0.005))),
        (features(aie=0.0), (0.0, -4.0, 2 * math.log10(0.005))),
        (features(aie=1.0, pull=1.0, ft_lr=1.0), (2.0, 0.0, 0.0)),
        (features(pull=0.0), (1.0, -4.0, -4.0 + 2 * math.log10(0.02))),
    ],
)
def test_special_values(found: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert found == pytest.approx(expected)


def test_pulls_below_a_hundredth_of_the_largest_are_one_start() -> None:
    assert features(pull=0.0) == features(pull=0.001) == features(pull=0.02)
    assert features(pull=0.021)[2] > features(pull=0.02)[2]


def test_a_map_without_any_energy_has_finite_features() -> None:
    snapshot = probe_at(0, RECIPE, aie=0.0, pull_norm=0.0)
    assert all(map(math.isfinite, energy_features(snapshot, 0.1, aie_max=0.0, pull_max=0.0)))


def test_a_factor_of_three_in_the_rate_is_about_half_of_all_energy() -> None:
    near = features(ft_lr=0.03)[1] - features(ft_lr=0.01)[1]
    assert near == pytest.approx(features(aie=0.5)[0] - features(aie=0.0)[0], abs=0.05)


@settings(max_examples=60, deadline=None)
@given(aie=AMOUNTS, pull=AMOUNTS, ft_lr=RATES, more=st.floats(1.0, 10))
def test_each_feature_rises_with_its_cause_alone(
    aie: float, pull: float, ft_lr: float, more: float
) -> None:
    least = features(aie, pull, ft_lr)
    energy, stronger = features(aie * more, pull, ft_lr), features(aie, pull * more, ft_lr)
    assert energy[0] >= least[0]
    assert energy[1:] == least[1:]
    assert stronger[2] >= least[2]
    assert stronger[:2] == least[:2]
    faster = features(aie, pull, ft_lr * more)
    steps = [a - b for a, b in zip(faster, least, strict=True)]
    assert steps == pytest.approx([0.0, 2 * math.log10(more), 2 * math.log10(more)])
