"""The pruner in a user's own objective, with plain ``study.optimize`` and no recipe of ours."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna import TrialPruned
from optuna.trial import TrialState

import energytune
from energytune.errors import ConfigError
from energytune.optimizer.pruner import prune_reason

N_EPOCHS = 50  # rungs at 4, 16


def probe(tau: int, head_arch: str) -> dict[str, float]:
    """Head probing, made up: the head learns for some 100 epochs, then stands still."""
    left = math.exp(-tau / 20)
    reach = 0.95 if head_arch == "mlp" else 0.9
    return {
        "train_acc": reach - 0.8 * left,
        "aie": 1 - reach + 0.8 * left,
        "head_norm": 2 + math.log1p(tau),
        "valid_loss": 0.5 + 2 * left,
    }


def objective(trial: optuna.Trial) -> float:
    tau = trial.suggest_int("tau_plus_1", 1, 4097, log=True) - 1
    head_arch = trial.suggest_categorical("head_arch", ["linear", "mlp"])
    ft_lr = trial.suggest_categorical("ft_lr", [0.005, 0.01])

    trial.set_user_attr("hp", probe(tau, head_arch))
    if trial.should_prune():
        raise TrialPruned
    best = 0.9 - 0.02 * abs(math.log1p(tau) - 6) - 0.1 * abs(math.log10(ft_lr) + 2)
    for epoch in range(1, N_EPOCHS + 1):
        trial.report(best * (1 - math.exp(-epoch / 10)), epoch)
        if trial.should_prune():
            raise TrialPruned
    return best


def test_five_lines_of_set_up() -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=energytune.EnergyPruner(N_EPOCHS),
    )
    study.optimize(objective, n_trials=40)

    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert len(complete) + len(pruned) == 40
    assert all(prune_reason(t) is None and t.last_step == N_EPOCHS for t in complete)

    before = [t for t in pruned if t.last_step is None]
    during = [t for t in pruned if t.last_step is not None]
    assert before
    assert during
    assert {t.last_step for t in during} <= {4, 16}
    assert all((prune_reason(t) or "").startswith("SuccessiveHalvingPruner: ") for t in during)
    for trial in before:
        reason = prune_reason(trial) or ""
        (twin,) = (t for t in complete if f"redundant: starts like trial {t.number} (" in reason)
        assert twin.params["head_arch"] == trial.params["head_arch"]
        assert twin.params["ft_lr"] == trial.params["ft_lr"]
        assert "HP-train-acc" in reason
        assert "AIE" in reason


def run(*trials: dict[str, Any], hp: dict[str, Any] | None = None, **attrs: Any) -> list[str]:
    """Runs trials of fixed parameters; returns states."""
    study = optuna.create_study(direction="maximize", pruner=energytune.EnergyPruner(N_EPOCHS))
    for params in trials:
        study.enqueue_trial(params)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("tau", 0, 4096)
        if "width" in trials[trial.number]:
            trial.suggest_int("width", 1, 64)
        for name, value in attrs.items():
            trial.set_user_attr(name, value(trial.params["tau"]))
        if hp is not None:
            trial.set_user_attr("hp", hp)
        if trial.should_prune():
            raise TrialPruned
        return 0.5

    study.optimize(objective, n_trials=len(trials))
    return [trial.state.name for trial in study.trials]


SAME = {"train_acc": 0.8, "aie": 0.3}


def test_own_parameters_must_be_equal_for_two_trials_to_be_one() -> None:
    assert run({"tau": 8}, {"tau": 9}, hp=SAME) == ["COMPLETE", "PRUNED"]
    assert run({"tau": 8, "width": 2}, {"tau": 9, "width": 3}, {"tau": 7, "width": 2}, hp=SAME) == [
        "COMPLETE",
        "COMPLETE",
        "PRUNED",
    ]


@pytest.mark.parametrize("hp", [{"aie": 0.3}, {"train_acc": 0.8}, {"head_norm": 2.0}, None])
def test_what_is_not_measured_decides_nothing(hp: dict[str, Any] | None) -> None:
    assert run(*[{"tau": 8}] * 15, hp=hp) == ["COMPLETE"] * 15


def test_snapshots_tell_that_a_probe_stands_still() -> None:
    """AIE is at 0 after 32 epochs; the drift of accuracy after that keeps the starts apart."""

    def snapshots(tau: int) -> list[dict[str, float]]:
        epochs = [e for e in (0, 8, 16, 32, 64, 128, 256) if e <= tau]
        return [
            {"epoch": e, "train_acc": 0.9 + 0.00006 * e, "aie": max(0.0, 0.4 - 0.02 * e)}
            for e in epochs
        ]

    assert run({"tau": 64}, {"tau": 256}, snapshots=snapshots) == ["COMPLETE", "PRUNED"]
    assert run({"tau": 16}, {"tau": 256}, snapshots=snapshots) == ["COMPLETE", "COMPLETE"]


def test_a_wrong_number_ends_the_trial_with_a_word_on_it() -> None:
    with pytest.raises(ConfigError, match=r"'aie' in user attribute 'hp' must be a number"):
        run({"tau": 8}, hp={"aie": "0.3"})
