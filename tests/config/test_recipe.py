from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energytune.config import DIMENSIONS, HEAD_ARCHS, Recipe

recipes = st.builds(
    Recipe,
    tau=st.integers(0, 4096),
    head_arch=st.sampled_from(HEAD_ARCHS),
    label_smoothing=st.floats(0, 0.99),
    reinit_depth=st.integers(0, 3),
    ft_lr=st.floats(1e-6, 10),
)


@given(recipes)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert tuple(recipe.to_dict()) == DIMENSIONS


@given(recipes)
def test_the_canonical_recipe_is_the_same_run(recipe: Recipe) -> None:
    canonical = recipe.canonical()
    assert canonical.canonical() == canonical
    assert canonical.key() == recipe.key()
    if recipe.tau > 0:
        assert canonical == recipe


@given(recipes, recipes)
def test_keys_are_equal_exactly_when_the_runs_are(first: Recipe, second: Recipe) -> None:
    assert (first.key() == second.key()) == (first.canonical() == second.canonical())


def test_tau_0_is_one_run_for_every_smoothing() -> None:
    plain = Recipe(tau=0, ft_lr=0.01)
    smoothed = Recipe(tau=0, label_smoothing=0.3, ft_lr=0.01)
    assert smoothed.canonical() == plain
    assert smoothed.key() == plain.key()
    assert Recipe(tau=1, label_smoothing=0.3, ft_lr=0.01).key() != Recipe(tau=1, ft_lr=0.01).key()


@pytest.mark.parametrize(
    "change",
    [{"tau": 9}, {"head_arch": "mlp"}, {"label_smoothing": 0.1}, {"reinit_depth": 1}, {"ft_lr": 1}],
)
def test_every_dimension_is_part_of_the_key(change: dict[str, Any]) -> None:
    recipe = Recipe(tau=8, ft_lr=0.01)
    assert recipe.model_copy(update=change).key() != recipe.key()


def test_the_key_is_the_same_in_another_process() -> None:
    code = "from energytune.config import Recipe; print(Recipe(tau=8, ft_lr=0.01).key())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == Recipe(tau=8, ft_lr=0.01).key()


@pytest.mark.parametrize(
    "change",
    [
        {"tau": -1},
        {"tau": 1.5},
        {"head_arch": "conv"},
        {"label_smoothing": 1.0},
        {"label_smoothing": -0.1},
        {"label_smoothing": float("nan")},
        {"reinit_depth": -1},
        {"ft_lr": 0},
        {"ft_lr": float("inf")},
        {"ft_lr": float("nan")},
        {"seed": 0},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe(**{"tau": 8, "ft_lr": 0.01, **change})


def test_a_recipe_is_immutable_and_hashable() -> None:
    recipe = Recipe(tau=8, ft_lr=0.01)
    with pytest.raises(ValidationError):
        recipe.tau = 9  # type: ignore[misc]
    assert {recipe: "a"}[Recipe(tau=8, ft_lr=0.01)] == "a"


def test_labels_name_what_differs_from_the_plainest() -> None:
    plain = Recipe(tau=0, ft_lr=0.01)
    assert plain.label() == "linear tau=0 lr=0.01"
    rich = Recipe(tau=9, head_arch="mlp", label_smoothing=0.1, reinit_depth=1, ft_lr=0.01)
    assert rich.label() == "mlp tau=9 ls=0.1 k=1 lr=0.01"
