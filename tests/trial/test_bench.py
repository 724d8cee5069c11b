from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from energytune.cache_listing import list_cache
from energytune.config import ProbeConfig, Recipe, SearchSpace
from energytune.errors import ConfigError, UnknownNameError

RECIPE = Recipe(tau=4, label_smoothing=0.1, ft_lr=0.01)


class Watch:
    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.notes: list[str] = []

    def note(self, text) -> None:
        self.notes.append(text)

    @contextmanager
    def stage(self, name, total):
        self.done[name] = 0

        def advance(n_units: int) -> None:
            self.done[name] += n_units

        yield advance


def test_features_are_computed_once_and_found_by_the_next_process(make_spec) -> None:
    spec = make_spec()
    first, second = Watch(), Watch()
    spec.build().prepare(range(2), first)
    assert first.done == {
        "features of train, depth 0": 100,
        "features of valid, depth 0": 400,
        "features of train, depth 1": 100,
        "features of valid, depth 1": 400,
    }
    spec.build().prepare(range(2), second)
    assert second.done == {}


def test_features_are_those_of_the_backbone_and_never_of_the_test_split(bench) -> None:
    data = bench.probe_data(0)
    with torch.no_grad():
        features = bench.backbone.module(bench.splits.train.images)
    (cached,) = data.train.batches(1000)
    torch.testing.assert_close(cached, features, rtol=1e-3, atol=1e-4)
    assert (data.n_train, data.device) == (100, torch.device("cpu"))
    assert torch.equal(data.train_targets, bench.splits.train.targets)
    assert data.valid.shape == (400, 128)
    assert torch.equal(data.valid_targets, bench.splits.valid.targets)
    assert bench.probe_data(0) is data
    assert bench.splits.test.n_opened == 0


def test_over_the_budget_the_frozen_part_runs_each_time(make_spec, tmp_path) -> None:
    watch = Watch()
    bench = make_spec(cache_budget="30kB").build()
    bench.prepare(range(1), watch)
    assert watch.done == {"features of train, depth 0": 100}  # 25.6 kB; valid would be 102.4 kB
    assert [note[:62] for note in watch.notes] == [
        "features of valid at depth 0 need 102.4 kB, over the budget of"
    ]
    cached = make_spec(cache=tmp_path / "other").build().probe_data(0)
    for name in ("train", "valid"):
        mine, theirs = getattr(bench.probe_data(0), name), getattr(cached, name)
        torch.testing.assert_close(
            torch.cat(list(mine.batches(100))),
            torch.cat(list(theirs.batches(100))),
            rtol=1e-3,
            atol=1e-4,
        )


def test_a_budget_that_is_no_size(make_spec) -> None:
    with pytest.raises(ConfigError, match="--cache-budget must have a unit, got '30'"):
        make_spec(cache_budget="30").build()


def test_augmented_views_are_those_of_train_alone_and_kept_apart(make_spec) -> None:
    plain, watch = make_spec().build(), Watch()
    plain.prepare(range(1))
    bench = make_spec(probe=ProbeConfig(n_views=2)).build()
    bench.prepare(range(1), watch)
    data = bench.probe_data(0)
    assert (data.train.n_views, data.valid.n_views) == (2, 1)
    assert watch.done == {"features of train, depth 0": 300}  # valid is there already
    assert bench.trajectory(RECIPE, 0) != plain.trajectory(RECIPE, 0)


def test_an_entry_says_what_it_is(make_spec, tmp_path) -> None:
    make_spec().build().prepare(range(1, 2))
    told = [item.what for item in list_cache(tmp_path / "cache", ["features"])]
    assert sorted(told) == [
        "digits / digits-mlp / depth 1 / train (100, 128)",
        "digits / digits-mlp / depth 1 / valid (400, 128)",
    ]


def test_trajectory_is_shared_by_every_tau_and_ft_lr_and_by_nothing_else(make_spec) -> None:
    bench = make_spec().build()
    address = bench.trajectory(RECIPE, 0)
    for same in ({"tau": 99}, {"ft_lr": 0.5}):
        assert bench.trajectory(RECIPE.model_copy(update=same), 0) == address
    others = [
        bench.trajectory(RECIPE.model_copy(update=change), 0)
        for change in ({"label_smoothing": 0.2}, {"head_arch": "mlp"}, {"reinit_depth": 1})
    ]
    others += [
        bench.trajectory(RECIPE, 1),
        make_spec(probe=ProbeConfig(lr=0.01)).build().trajectory(RECIPE, 0),
        make_spec(weights="none").build().trajectory(RECIPE, 0),
        make_spec(dataset="digits-rotated").build().trajectory(RECIPE, 0),
        make_spec(n_threads=2).build().trajectory(RECIPE, 0),
    ]
    torch.set_num_threads(1)
    assert len({address, *others}) == 1 + len(others)


def test_same_seed_same_model(bench) -> None:
    first, second = (bench.model(RECIPE, 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = bench.model(RECIPE, 4).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def _depths(low: int, high: int) -> SearchSpace:
    return SearchSpace(tau=4, ft_lr=0.01, reinit_depth={"low": low, "high": high})


@pytest.mark.parametrize("narrow", [True, False])
def test_a_space_that_the_backbone_can_be_cut_for_stays(bench, narrow) -> None:
    space = _depths(0, 4)
    assert bench.fit_space(space, narrow=narrow) == space


def test_a_space_deeper_than_the_backbone(bench) -> None:
    with pytest.raises(ConfigError, match=r"at most 4 .*'digits-mlp'.*got high = 5"):
        bench.fit_space(_depths(0, 5), narrow=False)
    assert bench.fit_space(_depths(1, 5), narrow=True) == _depths(1, 4)
    with pytest.raises(ConfigError, match="at most 4"):  # nothing of it is left
        bench.fit_space(_depths(5, 6), narrow=True)


def test_an_embedded_backbone_is_pretrained_on_first_use(make_spec, tmp_path) -> None:
    watch = Watch()
    bench = make_spec(checkpoint=None).build(watch)
    assert watch.done == {"pretraining digits-mlp": 40}
    again = Watch()
    assert make_spec(checkpoint=None).build(again).backbone.weights_sha256 == (
        bench.backbone.weights_sha256
    )
    assert again.done == {}


@pytest.mark.parametrize("field", ["dataset", "backbone"])
def test_unknown_names(make_spec, field) -> None:
    with pytest.raises(UnknownNameError, match="digts"):
        make_spec(**{field: "digts"}).build()
