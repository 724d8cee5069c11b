from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import Trial, TrialState

from energytune.errors import ConfigError
from energytune.optimizer import EnergyPruner
from energytune.optimizer.probed import Probed
from energytune.optimizer.pruner import ask_pruner, prune_reason
from energytune.optimizer.suggest import params_of
from tests.optimizer.fakes import N_EPOCHS, make_space, probe_at

SPACE = make_space()


def make_study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner or EnergyPruner(N_EPOCHS))


def begin(study: optuna.Study, role: str = "search", **changes: Any) -> Trial:
    """A trial whose probe has ended."""
    numbers = changes.pop("hp", {})
    recipe = SPACE.baseline(64).model_copy(update=changes)
    study.enqueue_trial(
        params_of(recipe, SPACE), user_attrs={"recipe": recipe.to_dict(), "role": role}
    )
    trial = study.ask()
    trial.set_user_attr("hp", vars(probe_at(recipe.tau, recipe, **numbers)))
    return trial


def explain(study: optuna.Study, trial: Trial) -> str | None:
    assert isinstance(study.pruner, EnergyPruner)
    return study.pruner.explain(study, study.trials[trial.number])


def test_redundant_only_with_a_complete_trial() -> None:
    study = make_study()
    for state in ("RUNNING", "FAIL", "PRUNED", "COMPLETE"):
        first = begin(study)
        if state == "COMPLETE":
            study.tell(first, 0.8)
        elif state != "RUNNING":
            study.tell(first, state=TrialState[state])
        second = begin(study)
        reason = explain(study, second)
        assert second.should_prune() == (state == "COMPLETE")
        assert (reason is not None) == (state == "COMPLETE")
        study.tell(second, state=TrialState.FAIL)
    assert reason is not None
    assert f"starts like trial {first.number}" in reason


def test_baselines_are_exempt_from_everything() -> None:
    study = make_study()
    study.tell(begin(study), 0.8)
    trial = begin(study, role="baseline_tau_max")
    assert not trial.should_prune()
    for epoch in range(1, N_EPOCHS):
        trial.report(0.0, epoch)
        assert not trial.should_prune()


def test_energy_rules_are_over_once_finetuning_reports() -> None:
    study = make_study()
    study.tell(begin(study), 0.8)
    trial = begin(study)
    trial.report(0.9, 1)
    assert not trial.should_prune()


@pytest.mark.parametrize("n_probed", [9, 10])
def test_collapse_compares_with_probed_trials_of_any_state(n_probed: int) -> None:
    study = make_study()
    study.tell(study.ask(), state=TrialState.FAIL)  # not probed
    for i in range(n_probed):
        trial = begin(study, hp={"head_norm": 1.0 + i, "valid_loss": 1.0 + i})
        if i % 3:  # every third goes on running
            study.tell(trial, state=TrialState.PRUNED if i % 3 == 1 else TrialState.FAIL)
    trial = begin(study, hp={"head_norm": 99.0, "valid_loss": 99.0})
    reason = explain(study, trial)
    assert trial.should_prune() == (n_probed == 10)
    assert (reason or "collapsed").startswith("collapsed")


def run_epochs(study: optuna.Study, trial: Trial, accuracy: float) -> int | None:
    """Returns the epoch of the stop, None if it went to its end."""
    for epoch in range(1, N_EPOCHS + 1):
        trial.report(accuracy, epoch)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    study.tell(trial, accuracy)
    return None


def test_successive_halving_step_by_step() -> None:
    study = make_study()
    rates = [0.001 * 1.3**i for i in range(11)]
    table = [
        (0.50, None),  # the first is always the best so far
        (0.40, 4),  # fewer than four: only the best goes on
        (0.60, None),
        (0.55, 4),
        (0.70, None),
        (0.59, 4),
        (0.65, 4),  # the second of 7, of which one goes on
        (0.64, 4),  # the third of 8, of which two go on
        (0.66, 16),  # the second of 9 at epoch 4, but of 4 at epoch 16
        (0.70, None),  # a tie with the best stays
        (0.30, 4),
    ]
    stops = [
        run_epochs(study, begin(study, ft_lr=rate), accuracy)
        for rate, (accuracy, _) in zip(rates, table, strict=True)
    ]
    assert stops == [epoch for _, epoch in table]


class StopAt(optuna.pruners.BasePruner):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.n_asked = 0

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.n_asked += 1
        return trial.last_step == self.epoch


def test_any_pruner_inside() -> None:
    inner = StopAt(7)
    study = make_study(EnergyPruner(N_EPOCHS, inner=inner))
    assert run_epochs(study, begin(study), 0.5) == 7
    assert inner.n_asked == 7


@pytest.mark.parametrize(
    ("pruner", "name"),
    [
        (StopAt(4), "StopAt"),
        (EnergyPruner(N_EPOCHS, inner=StopAt(4)), "StopAt"),
        (EnergyPruner(N_EPOCHS), "SuccessiveHalvingPruner"),
    ],
)
def test_reasons_carry_the_numbers(pruner: optuna.pruners.BasePruner, name: str) -> None:
    study = make_study(optuna.pruners.NopPruner())
    for rate, accuracy in ((0.001, 0.7), (0.002, 0.6), (0.003, 0.5)):
        trial = begin(study, ft_lr=rate)
        for epoch in range(1, 5):
            trial.report(accuracy, epoch)
        reason = ask_pruner(pruner, study, study.trials[trial.number])
    assert reason is not None
    assert reason.startswith(f"{name}: FT-valid-acc 0.5000 at epoch 4")
    assert "2 of 2 other trials better, best 0.7000" in reason


def test_it_has_no_state_of_its_own() -> None:
    """Another object, as after a restart, decides alike."""
    study = make_study()
    run_epochs(study, begin(study, ft_lr=0.001), 0.5)
    study.pruner = EnergyPruner(N_EPOCHS)
    assert run_epochs(study, begin(study, ft_lr=0.002), 0.4) == 4
    study.pruner = EnergyPruner(N_EPOCHS)
    assert run_epochs(study, begin(study, ft_lr=0.003), 0.6) is None


def test_the_reason_is_stored_by_the_pruner_itself() -> None:
    study = make_study()
    first = begin(study)
    assert not first.should_prune()
    run_epochs(study, first, 0.8)
    before = begin(study)
    assert before.should_prune()
    assert (prune_reason(study.trials[1]) or "").startswith("redundant: starts like trial 0 (")
    study.tell(before, state=TrialState.PRUNED)
    assert run_epochs(study, begin(study, ft_lr=0.05), 0.3) == 4

    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    kept, redundant, slow = map(prune_reason, study.trials)
    assert kept is None
    assert (redundant or "").startswith("redundant: starts like trial 0 (")
    assert slow == (
        "SuccessiveHalvingPruner: FT-valid-acc 0.3000 at epoch 4, "
        "1 of 1 other trials better, best 0.8000"
    )


@pytest.mark.parametrize("state", ["COMPLETE", "FAIL"])
def test_a_trial_that_went_on_or_failed_was_not_pruned(state: str) -> None:
    study = make_study()
    study.tell(begin(study), 0.8)
    trial = begin(study)
    assert trial.should_prune()
    assert prune_reason(study.trials[1]) is not None
    study.tell(trial, 0.8 if state == "COMPLETE" else None, state=TrialState[state])
    assert prune_reason(study.trials[1]) is None


def test_the_reason_survives_in_the_study(tmp_path: Path) -> None:
    def storage() -> optuna.storages.BaseStorage:
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
        return optuna.storages.JournalStorage(backend)

    study = optuna.create_study(
        storage=storage(), study_name="s", direction="maximize", pruner=EnergyPruner(N_EPOCHS)
    )
    study.tell(begin(study), 0.8)
    trial = begin(study)
    told = ask_pruner(study.pruner, study, study.trials[trial.number])
    study.tell(trial, state=TrialState.PRUNED)
    again = optuna.load_study(study_name="s", storage=storage())
    assert told is not None
    assert prune_reason(again.trials[1]) == told


class Closed:
    """A gate that lets nothing through."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def reason(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, probed: Probed
    ) -> str | None:
        self.asked.append(trial.number)
        return f"gate: tau {probed.tau}, AIE {probed.last['aie']:.1f}"


def test_the_gate_is_asked_after_the_rules_and_before_finetuning_only() -> None:
    gate = Closed()
    study = make_study(EnergyPruner(N_EPOCHS, gate=gate))
    baseline = begin(study, role="baseline_tau_0")
    assert not baseline.should_prune()
    study.tell(baseline, 0.8)
    assert begin(study).should_prune()  # redundant
    assert gate.asked == []
    trial = begin(study, ft_lr=0.05, hp={"aie": 0.7})
    assert trial.should_prune()
    assert gate.asked == [2]
    assert prune_reason(study.trials[2]) == "gate: tau 64, AIE 0.7"
    trial.report(0.9, 1)
    assert not trial.should_prune()
    assert not study.ask().should_prune()  # not probed
    assert gate.asked == [2]


def test_what_is_wrong_is_told_once_and_to_nobody_else() -> None:
    study = make_study()
    study.tell(begin(study), 0.8)
    bad = begin(study)
    bad.set_user_attr("hp", {"aie": "low"})
    with pytest.raises(ConfigError, match="'aie' in user attribute 'hp'"):
        bad.should_prune()
    assert begin(study).should_prune()
    study.tell(bad, state=TrialState.FAIL)
    assert begin(study).should_prune()


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"n_ft_epochs must be at least 1\. Got 0"):
        EnergyPruner(0, inner=optuna.pruners.NopPruner())
    with pytest.raises(ConfigError, match=r"n_collapse_trials must be at least 1\. Got 0"):
        EnergyPruner(5, n_collapse_trials=0)


def test_a_study_that_is_not_ours_is_left_to_the_inner_pruner() -> None:
    study = make_study()
    study.tell(study.ask(), 1.0)
    trial = study.ask()
    assert not trial.should_prune()
    trial.set_user_attr("hp", {})
    assert not trial.should_prune()
