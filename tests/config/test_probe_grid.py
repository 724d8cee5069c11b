from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import ProbeConfig, grid_of_space, load_space, probe_grid
from energytune.errors import ConfigError


def test_the_grid_of_the_default_space() -> None:
    grid = grid_of_space(load_space("default"))
    assert grid.head_archs == ("linear", "mlp")
    assert grid.label_smoothings == (0.0, 0.075, 0.15, 0.225, 0.3)
    assert (grid.reinit_depths, grid.lrs, grid.tau_max) == ((0,), (0.03,), 4096)
    assert grid.probe.batch_size == 32


def test_what_is_asked_for_replaces_what_the_space_says() -> None:
    grid = grid_of_space(load_space("default"), lrs=(0.1, 0.01), seeds=(3, 4), tau_max=None)
    assert (grid.lrs, grid.seeds, grid.tau_max) == ((0.1, 0.01), (3, 4), 4096)


def test_a_continuous_range_of_smoothings_gives_five() -> None:
    space = load_space("default")
    smoothing = space.label_smoothing.model_copy(update={"step": None})
    grid = grid_of_space(space.model_copy(update={"label_smoothing": smoothing}))
    assert grid.label_smoothings == (0.0, 0.075, 0.15, 0.225, 0.3)


def test_heads_are_the_product_with_those_of_a_cut_together() -> None:
    grid = probe_grid(
        reinit_depths=(1, 0), label_smoothings=(0.0, 0.1), seeds=(0, 1), lrs=(0.1,), tau_max=4
    )
    heads = grid.heads()
    assert len(heads) == len(set(heads)) == 2 * 2 * 2 * 2
    assert [head.reinit_depth for head in heads] == [0] * 8 + [1] * 8
    assert [head.head_arch for head in heads[:8]] == ["linear"] * 4 + ["mlp"] * 4
    config = grid.config(heads[0])
    assert (config.lr, config.momentum) == (0.1, 0.9)


def test_labels_tell_heads_apart() -> None:
    grid = probe_grid(
        reinit_depths=(0, 2), lrs=(0.1, 0.2), weight_decays=(0.0, 0.01), seeds=(0, 1), tau_max=1
    )
    labels = [head.label() for head in grid.heads()]
    assert len(set(labels)) == len(labels)
    assert labels[0] == "linear ls=0 lr=0.1 seed=0"
    assert labels[-1] == "mlp ls=0 k=2 lr=0.2 wd=0.01 seed=1"


def test_repeated_values_count_once() -> None:
    assert probe_grid(lrs=(0.1, 0.1), tau_max=1).lrs == (0.1,)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        probe_grid(head_archs=("linaer",), label_smoothings=(1.0,), lrs=(0,), tau_max=-1, sede=1)
    text = str(caught.value)
    assert "did you mean 'linear'?" in text
    for part in ("label_smoothings[0] = 1.0: must be < 1", "lrs[0] = 0: must be > 0", "tau_max"):
        assert part in text
    assert "sede: unknown key; did you mean 'seeds'?" in text


# the schedule of probing


def test_a_cosine_falls_to_0_and_stays_there() -> None:
    config = ProbeConfig(lr=0.2, schedule="cosine", schedule_epochs=8)
    assert config.lr_at(0) == 0.2
    assert config.lr_at(4) == pytest.approx(0.1)
    assert config.lr_at(8) == config.lr_at(100) == 0.0
    assert ProbeConfig(lr=0.2).lr_at(1000) == 0.2


@given(st.floats(0, 20), st.floats(0, 20))
def test_a_cosine_never_rises(one: float, other: float) -> None:
    config = ProbeConfig(lr=0.2, schedule="cosine", schedule_epochs=8)
    low, high = sorted((one, other))
    assert 0.0 <= config.lr_at(high) <= config.lr_at(low) <= 0.2
    expected = 0.1 * (1 + math.cos(math.pi * min(1.0, low / 8)))
    assert config.lr_at(low) == pytest.approx(expected)


@pytest.mark.parametrize(
    "values", [{"schedule": "cosine"}, {"schedule": "constant", "schedule_epochs": 3}]
)
def test_a_cosine_has_an_end_and_nothing_else_has(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="schedule_epochs must be given with schedule = cosine"):
        ProbeConfig(**values)
