from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from energytune.config import MapHead, ProbeConfig, Recipe, probe_grid, snapshot_epochs
from energytune.errors import CutError
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe
from energytune.trial.energy_map import build_energy_map
from energytune.trial.map_curve import curve_rows

GRID = {
    "head_archs": ("linear", "mlp"),
    "label_smoothings": (0.0, 0.2),
    "reinit_depths": (0, 1),
    "tau_max": 4,
}


class Counted:
    """Counts the epochs that are really run, by stage."""

    def __init__(self) -> None:
        self.units: dict[str, int] = {}

    def note(self, text: str) -> None:
        raise AssertionError(text)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator:
        self.units[name] = 0

        def advance(n_units: int) -> None:
            self.units[name] += n_units

        yield advance


def test_every_head_has_every_tau(bench) -> None:
    watched = Counted()
    grid = probe_grid(**GRID)
    curves = build_energy_map(bench, grid, watched)
    assert [curve.head for curve in curves] == grid.heads()
    assert {tuple(s.epoch for s in c.snapshots) for c in curves} == {tuple(snapshot_epochs(4))}
    assert {(c.converged_epoch, c.failure) for c in curves} == {(None, "")}
    assert watched.units["probing 4 heads"] == 4  # one pass for all of a cut
    assert watched.units["probing 4 heads at depth 1"] == 4
    assert len({c.snapshots[-1].aie for c in curves}) == len(curves)


def test_a_head_of_the_map_is_that_of_a_trial(bench, make_job) -> None:
    """Equal up to rounding: a trial probes its head alone."""
    grid = probe_grid(**GRID)
    by_head = {curve.head: curve for curve in build_energy_map(bench, grid)}
    for depth in (0, 1):
        recipe = Recipe(tau=4, head_arch="mlp", label_smoothing=0.2, reinit_depth=depth, ft_lr=0.01)
        run = HeadRun(bench.model(recipe, 0), ProbeConfig(), 0.2)
        data = bench.probe_data(depth)
        *_, alone = probe(run, data, bench.splits.task, seed=0, tau=4)
        together = by_head[MapHead(depth, "mlp", 0.2, 0.03, 0.0, 0)].snapshots[-1]
        for name in ("aie", "train_loss", "valid_loss", "head_norm", "pull_norm"):
            assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-5)
        assert together.train_acc == alone.train_acc


def test_the_same_grid_again_is_read_and_a_longer_one_goes_on(bench) -> None:
    first = build_energy_map(bench, probe_grid(**GRID))
    watched = Counted()
    assert build_energy_map(bench, probe_grid(**GRID), watched) == first
    assert watched.units["probing 4 heads"] == 0
    longer = build_energy_map(bench, probe_grid(**{**GRID, "tau_max": 8}), watched)
    assert watched.units["probing 4 heads"] == 4
    assert [c.snapshots[: len(f.snapshots)] for c, f in zip(longer, first, strict=True)] == [
        f.snapshots for f in first
    ]


def test_neighbours_are_part_of_a_trajectorys_address(bench) -> None:
    """They decide the last digits, so another grid must not serve them."""
    watched = Counted()
    build_energy_map(bench, probe_grid(tau_max=2, head_archs=("linear",)), watched)
    more = probe_grid(tau_max=2, head_archs=("linear",), label_smoothings=(0.0, 0.1))
    build_energy_map(bench, more, watched)
    assert watched.units["probing 2 heads"] == 2
    both = probe_grid(tau_max=2, label_smoothings=(0.0, 0.1))
    build_energy_map(bench, both, watched)
    assert watched.units["probing 4 heads"] == 2  # the MLPs; the linear heads are there


def test_seeds_differ_in_the_initialisation_only(bench) -> None:
    grid = probe_grid(tau_max=1, head_archs=("linear",), seeds=(0, 1))
    one, other = build_energy_map(bench, grid)
    assert one.snapshots[0].head_norm != other.snapshots[0].head_norm


def test_converged_heads_stop(bench) -> None:
    grid = probe_grid(tau_max=512, head_archs=("linear",), lrs=(0.3, 1e-4), n_converged=3)
    curves = build_energy_map(bench, grid)
    stopped = [curve for curve in curves if curve.converged_epoch is not None]
    assert stopped
    for curve in stopped:
        accuracies = {s.train_acc for s in curve.snapshots if s.epoch >= curve.converged_epoch}
        assert len(accuracies) == 1
    rows = list(curve_rows(stopped))
    assert [row["tau"] for row in rows if row["converged"]] == [
        curve.snapshots[-1].epoch for curve in stopped
    ]


def test_rows_are_flat_and_complete(bench) -> None:
    rows = list(curve_rows(build_energy_map(bench, probe_grid(**GRID))))
    assert len(rows) == 8 * len(snapshot_epochs(4))
    assert set(rows[0]) == {
        *("reinit_depth", "head_arch", "label_smoothing", "lr", "weight_decay", "seed", "tau"),
        *("hp_train_acc", "hp_train_loss", "hp_valid_acc", "hp_valid_loss", "aie", "head_norm"),
        *("pull_norm", "n_views", "converged"),
    }
    assert not any(row["converged"] for row in rows)


def test_a_depth_that_is_too_deep_is_refused(bench) -> None:
    with pytest.raises(CutError, match=r"must lie in \[0, 4\]"):
        build_energy_map(bench, probe_grid(tau_max=1, reinit_depths=(5,)))


def test_the_backbone_is_bit_equal_afterwards(bench) -> None:
    before = {k: v.clone() for k, v in bench.backbone.module.state_dict().items()}
    build_energy_map(bench, probe_grid(**GRID))
    after = bench.backbone.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
