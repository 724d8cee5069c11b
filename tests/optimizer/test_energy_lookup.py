from __future__ import annotations

import pickle
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.config import MapHead, Recipe, grid_of_space
from energytune.errors import ConfigError
from energytune.optimizer.energy_features import energy_features
from energytune.optimizer.energy_lookup import MapLookup
from energytune.optimizer.suggest import distributions, suggest
from energytune.training import ProbeSnapshot
from tests.optimizer.fakes import make_space, probe_at

EPOCHS = (0, 1, 2, 3, 4, 6, 8, 11, 16)
PARAMS = {"tau": 8, "head_arch": "mlp", "label_smoothing": 0.1, "ft_lr": 0.02}

Rows = list[tuple[MapHead, tuple[ProbeSnapshot, ...]]]


def head(arch: str = "mlp", smoothing: float = 0.0, **changes: Any) -> MapHead:
    values = {"reinit_depth": 0, "lr": 0.03, "weight_decay": 0.0, "seed": 0}
    return MapHead(head_arch=arch, label_smoothing=smoothing, **(values | changes))  # type: ignore[arg-type]


def curve(of: MapHead, epochs: tuple[int, ...] = EPOCHS) -> tuple[ProbeSnapshot, ...]:
    """Snapshots whose AIE and pull tell head and epoch."""
    recipe = Recipe(tau=0, label_smoothing=of.label_smoothing, ft_lr=1.0)
    pull = 0.1 + 0.2 * (of.head_arch == "mlp") + 0.01 * of.seed + 0.05 * of.reinit_depth
    return tuple(probe_at(e, recipe, pull_norm=pull + 0.001 * e) for e in epochs)


def rows(**changes: Any) -> Rows:
    heads = [head(arch, eps, **changes) for arch in ("linear", "mlp") for eps in (0.0, 0.1, 0.2)]
    return [(one, curve(one)) for one in heads]


def features_at(of: MapHead, epoch: int, ft_lr: float, among: Rows) -> tuple[float, ...]:
    seen = [snapshot for _, snapshots in among for snapshot in snapshots]
    snapshot = next(s for s in curve(of) if s.epoch == epoch)
    return energy_features(
        snapshot,
        ft_lr,
        aie_max=max(s.aie for s in seen),
        pull_max=max(s.pull_norm for s in seen),
    )


@pytest.mark.parametrize(
    ("changes", "of", "epoch"),
    [
        ({}, head(smoothing=0.1), 8),
        ({"head_arch": "linear"}, head("linear", 0.1), 8),
        ({"tau": 9}, head(smoothing=0.1), 8),  # (1 + 9)**2 <= 9 * 12
        ({"tau": 10}, head(smoothing=0.1), 11),
        ({"tau": 5000}, head(smoothing=0.1), 16),
        ({"label_smoothing": 0.05 * 2 + 1e-9}, head(smoothing=0.1), 8),
        ({"label_smoothing": 0.14}, head(smoothing=0.1), 8),
        ({"label_smoothing": 0.16}, head(smoothing=0.2), 8),
        ({"tau": 0, "label_smoothing": 0.9}, head(), 0),
    ],
)
def test_the_nearest_snapshot_of_the_head(changes: dict[str, Any], of: MapHead, epoch: int) -> None:
    known = MapLookup(rows())(PARAMS | changes)
    assert known.features == features_at(of, epoch, 0.02, rows())


@pytest.mark.parametrize(
    "changes",
    [
        {"label_smoothing": 0.21},
        {"head_arch": "conv"},
        {"hp_lr": 0.1},
        {"label_smoothing": 0.21, "reinit_depth": 2},
        {"head_arch": "conv", "reinit_depth": 2},
        {"hp_lr": 0.1, "reinit_depth": 2},
    ],
)
def test_what_was_not_probed_is_not_known(changes: dict[str, Any]) -> None:
    assert MapLookup(rows())(PARAMS | changes).features is None


@pytest.mark.parametrize(
    ("probed", "depth", "found"),
    [
        ((0, 2), 0, 0),
        ((0, 2), 1, 0),
        ((0, 2), 2, 2),
        ((0, 2), 5, 2),
        ((2, 0, 3), 2, 2),
        ((0,), 3, 0),
        ((1,), 3, 1),
        ((1, 2), 0, None),
    ],
)
@pytest.mark.parametrize("tau", [0, 8])
def test_a_depth_that_was_not_probed_counts_as_the_next_shallower_one(
    probed: tuple[int, ...], depth: int, found: int | None, tau: int
) -> None:
    table = [row for k in probed for row in rows(reinit_depth=k)]
    known = MapLookup(table)(PARAMS | {"reinit_depth": depth, "tau": tau})
    if found is None:
        assert known.features is None
        return
    smoothing = 0.1 if tau else 0.0
    of = head(smoothing=smoothing, reinit_depth=found)
    assert known.features == features_at(of, tau, 0.02, table)
    # even where it is alike in energy, another depth is another run
    other = MapLookup(table)(PARAMS | {"reinit_depth": depth + 1, "tau": tau})
    assert other.key != known.key


def test_the_next_shallower_depth_is_that_of_the_same_kind_of_head() -> None:
    deep = head("linear", 0.1, reinit_depth=1)
    table = [*rows(), (deep, curve(deep))]
    lookup = MapLookup(table)
    linear = lookup(PARAMS | {"reinit_depth": 2, "head_arch": "linear"})
    assert linear.features == features_at(deep, 8, 0.02, table)
    mlp = lookup(PARAMS | {"reinit_depth": 2})
    assert mlp.features == features_at(head(smoothing=0.1), 8, 0.02, table)


def test_a_parameter_that_is_missing_has_the_maps_only_value() -> None:
    one = head(smoothing=0.1, reinit_depth=2)
    lookup = MapLookup([(one, curve(one))])
    params = {"tau": 8, "ft_lr": 0.02}
    assert lookup(params) == lookup(PARAMS | {"reinit_depth": 2})
    assert MapLookup([(one, curve(one)[:1])])({}).key == lookup({"tau": 0}).key
    with pytest.raises(ConfigError, match=r"'tau' must be among the trial's.*Got \['ft_lr'\]"):
        lookup({"ft_lr": 0.02})


@pytest.mark.parametrize("name", ["tau", "head_arch", "label_smoothing"])
def test_a_parameter_that_is_missing_is_named_where_the_map_has_several(name: str) -> None:
    params = {key: value for key, value in PARAMS.items() if key != name}
    with pytest.raises(ConfigError, match=f"'{name}' must be among"):
        MapLookup(rows())(params)


def test_the_rate_may_be_missing_everywhere() -> None:
    lookup = MapLookup(rows())
    less = {key: value for key, value in PARAMS.items() if key != "ft_lr"}
    assert lookup(less) == lookup(PARAMS | {"ft_lr": 1.0})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tau": -1}, "'tau' must be a number >= 0 and whole"),
        ({"tau": 1.5}, "'tau' must be a number >= 0 and whole"),
        ({"ft_lr": 0.0}, "'ft_lr' must be a number > 0"),
        ({"ft_lr": "fast"}, "'ft_lr' must be a number > 0. Got 'fast'"),
        ({"label_smoothing": 1.0}, r"'label_smoothing' must be a number in \[0, 1\)"),
        ({"reinit_depth": True}, "'reinit_depth' must be a number >= 0 and whole. Got True"),
        ({"head_arch": 3}, "head_arch must be a name. Got 3"),
    ],
)
def test_a_wrong_parameter_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MapLookup(rows())(PARAMS | changes)


def test_a_map_without_snapshots_is_refused() -> None:
    with pytest.raises(ConfigError, match="snapshot of at least one head"):
        MapLookup([(head(), ())])


def test_repeats_have_one_key() -> None:
    lookup = MapLookup(rows())
    key = lookup(PARAMS).key
    shifted = {k: v for k, v in PARAMS.items() if k != "tau"} | {"tau_plus_1": 9}
    assert lookup(shifted).key == key
    assert lookup(PARAMS | {"label_smoothing": 0.05 + 0.05}).key == key
    assert lookup(PARAMS | {"tau": 9}).key != key  # alike in energy, yet another run
    unprobed = lookup(PARAMS | {"tau": 0}).key
    assert lookup(PARAMS | {"tau": 0, "label_smoothing": 0.2, "hp_lr": 0.1}).key == unprobed
    own = lookup(PARAMS | {"batch_size": 32}).key
    assert own not in (key, lookup(PARAMS | {"batch_size": 64}).key)
    assert lookup({"batch_size": 32} | PARAMS).key == own


def test_the_first_of_several_seeds_is_taken_and_a_probing_rate_may_be_searched() -> None:
    seeds = [(one, curve(one)) for one in (head(seed=3), head(seed=1))]
    lookup = MapLookup(seeds)
    assert lookup({"tau": 8, "ft_lr": 0.1}).features == features_at(head(seed=3), 8, 0.1, seeds)
    both = rows() + [(one, curve(one)[::-1][:1]) for one in (head(smoothing=0.1, lr=0.3),)]
    lookup = MapLookup(both)
    assert lookup(PARAMS | {"hp_lr": 0.3}).features == features_at(
        head(smoothing=0.1), 16, 0.02, both
    )
    with pytest.raises(ConfigError, match="'hp_lr' must be among"):
        lookup(PARAMS)


def test_it_pickles() -> None:
    lookup = MapLookup(rows())
    assert pickle.loads(pickle.dumps(lookup))(PARAMS) == lookup(PARAMS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), snap=st.booleans(), deepest=st.sampled_from([0, 2]))
def test_a_searchs_parameters_are_known_by_the_recipe_that_is_run(
    seed: int, snap: bool, deepest: int
) -> None:
    depths = {"low": 0, "high": deepest}
    space = make_space(tau={"low": 0, "high": 64, "snap": snap}, reinit_depth=depths)
    grid = grid_of_space(space)
    table = [
        (one, curve(one, (0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64))) for one in grid.heads()
    ]
    lookup = MapLookup(table, space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask(distributions(space))
    recipe = suggest(trial, space)
    known = lookup(trial.params)
    assert known.key == recipe.key()
    assert known.features == MapLookup(table)(recipe.to_dict()).features
    assert known.features is not None
