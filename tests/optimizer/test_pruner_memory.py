"""What the pruner keeps of finished trials changes nothing but its speed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

import energytune.optimizer.pruner as module
from energytune.optimizer import EnergyPruner
from energytune.optimizer.pruner import prune_reason

N_EPOCHS = 10
HP = {"train_acc": 0.8, "aie": 0.3, "head_norm": 2.0, "valid_loss": 0.6}


def make_pruner() -> EnergyPruner:
    return EnergyPruner(N_EPOCHS, n_collapse_trials=3)


class Remade(optuna.pruners.BasePruner):
    """Decides with another object each time."""

    def __init__(self, remake: Callable[[EnergyPruner], EnergyPruner]) -> None:
        self.pruner, self.remake = make_pruner(), remake

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.pruner = self.remake(self.pruner)
        return self.pruner.prune(study, trial)


REMADE: dict[str, Callable[[EnergyPruner], EnergyPruner]] = {
    "new": lambda _: make_pruner(),
    "pickled": lambda pruner: pickle.loads(pickle.dumps(pruner)),
    "copied": copy.deepcopy,
}

PROBES = st.fixed_dictionaries(
    {"aie": st.sampled_from([0.0, 0.3, 0.302, 0.5])},
    optional={
        "train_acc": st.sampled_from([0.8, 0.9]),
        "head_norm": st.integers(1, 9),
        "valid_loss": st.integers(1, 9),
    },
)
TRIALS = st.lists(
    st.tuples(
        PROBES,
        st.sampled_from(["linear", "linear", "mlp"]),
        st.sampled_from(["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "RUNNING"]),
        st.sampled_from([0.2, 0.5, 0.7]),
    ),
    min_size=2,
    max_size=12,
)


def run(pruner: optuna.pruners.BasePruner, trials: list[Any], lag: int) -> Any:
    """Runs trials of which ``lag`` are not told yet; returns states, steps and reasons."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    untold: list[Callable[[], object]] = []
    asked: list[bool] = []
    for hp, head, state, accuracy in trials:
        trial = study.ask()
        trial.suggest_categorical("head_arch", ["linear", "mlp"])
        # In place of a suggestion, so that the kind is the drawn one.
        trial.set_user_attr("recipe", {"head_arch": head, "tau": 8, "ft_lr": 0.01})
        trial.set_user_attr("hp", hp)
        stop = trial.should_prune()
        for epoch in (1, 3, 9):
            if not stop:
                trial.report(accuracy, epoch)
                stop = trial.should_prune()
        asked.append(stop)
        end = "PRUNED" if stop else state
        if end != "RUNNING":
            value = accuracy if end == "COMPLETE" else None
            untold.append(lambda t=trial, v=value, e=end: study.tell(t, v, TrialState[e]))
        while len(untold) > lag:
            untold.pop()()  # the last first: they end out of order
    return asked, [(t.state, t.last_step, prune_reason(t)) for t in study.trials]


@pytest.mark.parametrize("name", REMADE)
@settings(max_examples=12, deadline=None)
@given(TRIALS, st.integers(0, 3))
def test_same_decisions_and_reasons_with_and_without(
    name: str, trials: list[Any], lag: int
) -> None:
    assert run(Remade(REMADE[name]), trials, lag) == run(make_pruner(), trials, lag)


def begin(study: optuna.Study, **hp: float) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("hp", HP | hp)
    return trial


def test_a_finished_trial_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def probed_of(trial: FrozenTrial) -> Any:
        read.append(trial.number)
        return original(trial)

    original = module.probed_of
    monkeypatch.setattr(module, "probed_of", probed_of)
    study = optuna.create_study(direction="maximize", pruner=make_pruner())
    for number in range(6):
        trial = begin(study, aie=0.1 * number)
        assert not trial.should_prune()
        study.tell(trial, 0.5)
    # Each trial by itself and as one that runs; as one that has ended, the last is not read yet.
    assert sorted(read) == sorted([*range(6), *range(6), *range(5)])


def test_a_waiting_trial_is_read_again_once_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []

    def probed_of(trial: FrozenTrial) -> Any:
        read.append(trial.number)
        return original(trial)

    original = module.probed_of
    monkeypatch.setattr(module, "probed_of", probed_of)
    study = optuna.create_study(direction="maximize", pruner=make_pruner())
    waiting = begin(study, aie=0.7)
    assert not begin(study, aie=0.1).should_prune()
    assert not begin(study, aie=0.2).should_prune()
    assert read.count(0) == 1
    waiting.report(0.5, 1)
    assert not begin(study, aie=0.7).should_prune()  # it starts alike, but is not complete
    assert read.count(0) == 2
    study.tell(waiting, 0.5)
    assert begin(study, aie=0.7).should_prune()
    assert read.count(0) == 3


def test_studies_of_one_name_are_told_apart() -> None:
    pruner = make_pruner()
    one, two = (
        optuna.create_study(study_name="same", direction="maximize", pruner=pruner)
        for _ in range(2)
    )
    one.tell(begin(one), 0.5)
    assert begin(one).should_prune()
    assert not begin(two).should_prune()
    assert begin(one).should_prune()


def test_a_study_that_takes_the_place_of_a_deleted_one() -> None:
    storage, pruner = optuna.storages.InMemoryStorage(), make_pruner()
    for aie in (0.1, 0.3):
        storage._max_study_id = -1  # as a database that gives an id once more
        study = optuna.create_study(storage=storage, direction="maximize", pruner=pruner)
        assert study._study_id == 0
        for i in range(2):
            study.tell(begin(study, aie=aie + 0.4 * i), 0.5)
        assert begin(study, aie=aie).should_prune()
        optuna.delete_study(study_name=study.study_name, storage=storage)


def test_threads_share_one_pruner() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner())
    for i in range(20):
        study.tell(begin(study, aie=0.05 * i), 0.5)
    trials = [begin(study, aie=0.05 * i) for i in range(4)]
    start, answers = Barrier(4), {}

    def ask(trial: optuna.Trial) -> None:
        start.wait()
        answers[trial.number] = trial.should_prune()

    threads = [Thread(target=ask, args=(trial,)) for trial in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {trial.number: True for trial in trials}
    assert {prune_reason(t) is None for t in study.trials[20:]} == {False}
