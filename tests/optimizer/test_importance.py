from __future__ import annotations

import warnings
from dataclasses import replace

import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from energytune.config import SearchSpace, apply_fixes
from energytune.optimizer.importance import MIN_TRIALS, recipe_importances
from energytune.optimizer.suggest import distributions, params_of
from energytune.trial import TrialRecord
from tests.report.hand_made import trial

SPACE = SearchSpace.model_validate(
    {
        "tau": {"low": 0, "high": 256},
        "ft_lr": {"low": 0.001, "high": 0.1},
        "reinit_depth": {"low": 0, "high": 2},
    }
)


def by_depth(n: int = 60) -> list[TrialRecord]:
    """Trials whose accuracy is that of their depth, and a little their rate's."""
    rates = (0.001, 0.004, 0.016, 0.06)
    return [
        trial(
            i,
            (0.5, 0.6 + 0.1 * (i % 3) + 0.001 * (i % 4)),
            tau=(0, 4, 16, 64, 256)[i % 5],
            ft_lr=rates[i % 4],
            reinit_depth=i % 3,
            head_arch=("linear", "mlp")[i // 30],
        )
        for i in range(n)
    ]


def test_what_decides_comes_first_and_shares_sum_to_1() -> None:
    found = recipe_importances(by_depth(), SPACE)
    assert next(iter(found.shares)) == "reinit_depth"
    assert found.shares["reinit_depth"] > 0.4
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert set(found.shares) == {"tau", "ft_lr", "reinit_depth", "head_arch"}
    assert (found.n_trials, found.n_stopped, found.reason) == (60, 0, "")
    for name, (low, high) in found.intervals.items():
        assert 0.0 <= low <= high <= 1.0
        assert name in found.shares


def test_the_shares_are_optuna_s_own() -> None:
    records = by_depth()
    study = optuna.create_study(direction="maximize")
    for record in records:
        study.add_trial(
            optuna.trial.create_trial(
                value=record.objective,
                params=params_of(record.job.recipe, SPACE),
                distributions=distributions(SPACE),
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    found = recipe_importances(records, SPACE).shares
    expected["tau"] = expected.pop("tau_plus_1")
    assert found == pytest.approx(expected)


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (recipe_importances(by_depth(), SPACE, seed=3) for _ in range(2))
    assert one == two
    assert one.intervals != recipe_importances(by_depth(), SPACE, seed=4).intervals


def test_stopped_trials_count_and_failed_and_repeated_ones_do_not() -> None:
    records = by_depth(24)
    stopped = [replace(r, state="PRUNED", finished=None) for r in records[:8]]
    failed = replace(records[8], state="FAIL", finished=None, epochs=())
    repeated = replace(records[9], duplicate_of=3)
    before = replace(records[10], state="PRUNED", finished=None, epochs=())
    found = recipe_importances([*stopped, failed, repeated, before, *records[11:]], SPACE)
    assert (found.n_trials, found.n_stopped) == (21, 8)


@pytest.mark.parametrize(
    ("records", "space", "reason"),
    [
        ([], SPACE, "there are 0"),
        (by_depth(MIN_TRIALS - 1), SPACE, f"it takes {MIN_TRIALS} trials"),
        ([trial(i, (0.5,)) for i in range(12)], SPACE, "equally good"),
        (
            by_depth(20),
            apply_fixes(
                SPACE,
                {
                    "tau": 4,
                    "head_arch": "linear",
                    "label_smoothing": 0.0,
                    "reinit_depth": 1,
                    "ft_lr": 0.01,
                },
            ),
            "every dimension",
        ),
    ],
)
def test_where_there_is_nothing_to_tell_it_says_why(
    records: list[TrialRecord], space: SearchSpace, reason: str
) -> None:
    found = recipe_importances(records, space)
    assert reason in found.reason
    assert found.shares == {}


def test_of_many_trials_some_are_drawn() -> None:
    records = [replace(r, job=replace(r.job, number=i)) for i, r in enumerate(by_depth() * 40)]
    found = recipe_importances(records, SPACE)
    assert found.n_trials == 2000
    assert found.intervals == {}
    assert next(iter(found.shares)) == "reinit_depth"
