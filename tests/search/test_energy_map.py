from __future__ import annotations

import pickle

import pytest

from energytune.config import probe_grid
from energytune.errors import ConfigError
from energytune.search.energy_map import EnergyMap
from energytune.training import ProbeSnapshot
from energytune.trial.map_curve import MapCurve


def snapshot(epoch: int, aie: float) -> ProbeSnapshot:
    return ProbeSnapshot(epoch, 0.5, 1.0, 0.5, 1.0, aie, 2.0, 0.5)


def make_map(*, failed: bool = False) -> EnergyMap:
    grid = probe_grid(head_archs=("linear", "mlp"), tau_max=4)
    curves = [
        MapCurve(head, () if failed else tuple(snapshot(e, aie - 0.1 * e) for e in (0, 1, 4)))
        for head, aie in zip(grid.heads(), (0.9, 0.8), strict=True)
    ]
    return EnergyMap("digits", "digits-mlp", grid, curves, 10, 100, "accuracy")


def test_a_sampler_looks_a_trial_up_by_the_names_of_a_recipe() -> None:
    lookup = make_map().lookup
    known = lookup({"tau_plus_1": 2, "head_arch": "mlp", "ft_lr": 0.01})
    assert known.features == pytest.approx((2 * 0.7 / 0.9, -4.0, -4.602), abs=1e-3)
    assert known.key == lookup({"tau": 1, "head_arch": "mlp", "ft_lr": 0.01}).key


def test_what_the_map_has_several_of_must_be_given() -> None:
    with pytest.raises(ConfigError, match="'head_arch'"):
        make_map().lookup({"tau": 1, "ft_lr": 0.01})


def test_the_lookup_is_made_once_and_pickles() -> None:
    energy_map = make_map()
    assert energy_map.lookup is energy_map.lookup
    params = {"tau": 4, "head_arch": "linear"}
    assert pickle.loads(pickle.dumps(energy_map.lookup))(params) == energy_map.lookup(params)


def test_a_map_whose_heads_all_failed_has_no_lookup() -> None:
    with pytest.raises(ConfigError, match="at least one head"):
        _ = make_map(failed=True).lookup
