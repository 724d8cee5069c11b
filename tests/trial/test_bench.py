from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from energytune.config import ProbeConfig, Recipe, SearchSpace
from energytune.errors import ConfigError, UnknownNameError

RECIPE = Recipe(tau=4, label_smoothing=0.1, ft_lr=0.01)


class Watch:
    def __init__(self) -> None:
        self.done: dict[str, int] = {}

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
    torch.testing.assert_close(data.train_features, features, rtol=1e-3, atol=1e-4)
    assert torch.equal(data.valid_targets, bench.splits.valid.targets)
    assert bench.probe_data(0) is data
    assert bench.splits.test.n_opened == 0


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
