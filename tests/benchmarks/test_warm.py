from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from optuna.samplers import RandomSampler

from benchmarks.tabular import warm
from benchmarks.tabular.grid import FT_EPOCHS, HEADS, TASKS, TableRecipe, recipes
from benchmarks.tabular.method import Ended, Method
from benchmarks.tabular.replay import Replay
from benchmarks.tabular.table import Table
from benchmarks.tabular.warm import WarmSampler, history, searched, warm_energytune
from energytune.optimizer.promotion import Rungs

PLAIN = Method(
    lambda _replay, seed: RandomSampler(seed=seed),
    promotion=lambda: Rungs((8, 32)),
    maps="shallow",
)
EPOCHS = (0, 1, 4, 32, 128, 512, 2048)


def quality(recipe: TableRecipe) -> float:
    return 0.9 - 0.1 * abs(recipe.ft_lr - 0.01) * 30 - 0.02 * abs(np.log10(1 + recipe.tau) - 2)


def table(task: str, valid_acc: float = 0.5) -> Table:
    """A table whose finetunes rise evenly; the worst rate at the largest tau diverges."""
    order = recipes()
    rise = np.linspace(0.5, 1.0, FT_EPOCHS)
    curves = np.array([quality(recipe) * rise for recipe in order])
    failed = np.array([r.tau == 2048 and r.ft_lr == 0.03 for r in order])
    curves[failed, 3:] = np.nan
    both = np.stack([curves, curves])
    probes = {
        (seed, head, epoch): {
            "epoch": epoch,
            "train_acc": 0.9,
            "train_loss": 0.3,
            "valid_acc": valid_acc,
            "valid_loss": 0.7,
            "aie": 0.8 / (1 + epoch),
            "head_norm": 2.0,
            "pull_norm": 0.4,
        }
        for seed in range(2)
        for head in HEADS
        for epoch in EPOCHS
    }
    return Table(
        TASKS[task],
        order,
        both,
        np.ones_like(both),
        both,
        both,
        np.stack([failed, failed]),
        np.full(len(order), 0.01),
        dict.fromkeys(HEADS, 0.001),
        1.0,
        probes,
    )


@pytest.fixture
def two_tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, Table]:
    """Two design tasks, near each other, instead of those that were computed."""
    both = {name: table(name, 0.5 + 0.01 * i) for i, name in enumerate(list(TASKS)[:2])}
    monkeypatch.setattr(warm, "tables", lambda role: list(both.values()))
    monkeypatch.setattr(warm, "load_table", both.__getitem__)
    return both


@pytest.fixture
def all_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def tables(role: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(task=task) for task in TASKS.values() if task.role == role]

    monkeypatch.setattr(warm, "tables", tables)


@pytest.mark.usefixtures("all_computed")
@pytest.mark.parametrize("name", list(TASKS))
def test_other_datasets_are_design_tasks_and_never_the_own_dataset(name: str) -> None:
    task = TASKS[name]
    before = [TASKS[other] for other in history(task, "other datasets")]
    assert {other.role for other in before} == {"design"}
    assert task.dataset not in {other.dataset for other in before}
    assert len(before) == (4 if task.role == "design" else 6)


@pytest.mark.usefixtures("all_computed")
@pytest.mark.parametrize("name", ["digits-rotated-mlp", "digits-permuted-cnn"])
def test_each_history_has_a_search_more_than_the_one_before(name: str) -> None:
    task = TASKS[name]
    others = history(task, "other datasets")
    related = history(task, "same dataset")
    assert related[:-1] == others
    twin = TASKS[related[-1]]
    assert (twin.dataset, twin.backbone != task.backbone) == (task.dataset, True)
    assert history(task, "same task") == [*related, name]


def test_a_past_search_has_30_trials_and_what_they_have_seen() -> None:
    replay = Replay(table("digits-mlp"), 0)
    past = searched(replay, PLAIN)
    n_failed = sum(e.end == "failed" for e in _begun(replay))
    assert n_failed > 0
    assert past.features.shape == (30 - n_failed, 3)
    assert past.scores.shape == (30 - n_failed,)
    assert all(epoch > 0 for *_, epoch in past.energies)  # type: ignore[misc]
    again = searched(Replay(table("digits-mlp"), 0), PLAIN)
    assert np.array_equal(past.features, again.features)
    assert np.array_equal(past.scores, again.scores)


def test_the_scores_of_a_past_search_are_those_of_its_finetunes() -> None:
    replay = Replay(table("digits-mlp"), 0)
    ended = [e for e in _begun(replay) if e.end != "failed"]
    reached = [
        quality(replay.table.recipes[e.place]) * (0.5 + 0.5 * (e.epoch - 1) / (FT_EPOCHS - 1))
        for e in ended
    ]
    expected = [
        sum((b < a - 1e-9) + 0.5 * (abs(b - a) <= 1e-9) for b in reached) - 0.5 for a in reached
    ]
    scores = searched(replay, PLAIN).scores
    assert scores == pytest.approx(np.array(expected) / (len(ended) - 1))


def test_a_warm_search_asks_near_searches_of_another_seed(two_tables: dict[str, Table]) -> None:
    own, other = two_tables.values()
    method = warm_energytune(PLAIN, "same task", n_picks=1)
    assert isinstance(method.sampler, WarmSampler)
    found = method.sampler.warm_start(Replay(own, 0))
    assert [past.name for past, _ in found.near] == [own.task.name, other.task.name]
    assert found.near[0][1] == 0.0
    assert found.n_picks == 1


def test_a_threshold_of_nothing_leaves_a_search_cold(two_tables: dict[str, Table]) -> None:
    own = next(iter(two_tables.values()))
    cold = warm_energytune(PLAIN, threshold=1e-6)
    assert isinstance(cold.sampler, WarmSampler)
    assert cold.sampler.warm_start(Replay(own, 0)).near == ()


def _begun(replay: Replay) -> list[Ended]:
    return replay.search(PLAIN, 1000, sampler_seed=10_000 + replay.seed).ended[:30]
