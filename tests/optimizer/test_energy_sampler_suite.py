"""Optuna's own suite of sampler tests, with the model from the second trial on.

Its multi-objective cases do not apply, for there is no one incumbent to improve on: that they are
refused is what ``SingleOnlySamplerTestCase`` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from energytune.optimizer.energy_features import Known
from energytune.optimizer.energy_sampler import EnergySampler


def energy(params: Mapping[str, Any]) -> Known:
    """Two features of any numbers among the parameters."""
    numbers = [float(v) for _, v in sorted(params.items()) if isinstance(v, int | float)]
    return Known(tuple(sorted(params.items())), (sum(numbers) / 10, float(len(numbers))))


def alone() -> BaseSampler:
    return EnergySampler(seed=0, n_initial=1, n_candidates=16)


def with_energy() -> BaseSampler:
    return EnergySampler(energy, seed=0, n_initial=1, n_candidates=16)


class TestEnergySampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture(params=[alone, with_energy])
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        made: Callable[[], BaseSampler] = request.param
        return made
