from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energytune.training.gpu_memory import limit_memory, n_trials_at, too_much

GB = 10**9


@pytest.mark.parametrize(
    ("share", "n_trials"), [(1.0, 1), (0.5, 2), (0.34, 2), (1 / 3, 3), (0.25, 4), (0.1, 10)]
)
def test_trials_at_a_share(share: float, n_trials: int) -> None:
    assert n_trials_at(share) == n_trials


def test_what_fits_is_no_problem() -> None:
    assert too_much(20 * GB, 80 * GB, 0.25) == ""
    assert too_much(20 * GB, 80 * GB, 0.5) == ""


def test_what_does_not_fit_is_told_with_what_would() -> None:
    told = too_much(30 * GB, 79 * GB, 0.25)
    assert "gpus_per_trial = 0.25 puts 4 trials on one GPU" in told
    assert "takes 30.0 GB" in told
    assert "120.0 GB of the 79.0 GB that are free" in told
    assert told.endswith("--gpus-per-trial 0.5 fits.")


def test_where_one_alone_fits_it_has_a_gpu_of_its_own() -> None:
    assert too_much(50 * GB, 79 * GB, 0.5).endswith("--gpus-per-trial 1 fits.")


def test_where_not_even_one_fits_the_advice_is_another() -> None:
    told = too_much(90 * GB, 79 * GB, 0.5)
    assert "Not even one fits" in told
    assert "batch_size" in told
    assert "fits." not in told


@given(st.integers(1, 200), st.integers(1, 400), st.sampled_from([0.5, 0.34, 0.25, 0.2, 0.1, 0.05]))
def test_what_is_said_to_fit_does(peak: int, free: int, share: float) -> None:
    told = too_much(peak * GB, free * GB, share)
    assume("--gpus-per-trial" in told and "fits." in told)
    found = re.search(r"--gpus-per-trial ([0-9.]+) fits", told)
    assert found is not None
    wanted = float(found[1])
    assert share < wanted <= 1
    assert n_trials_at(wanted) * peak <= free


def test_without_a_gpu_there_is_nothing_to_limit() -> None:
    limit_memory(0.25)
