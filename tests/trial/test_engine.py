"""The engine's settings, through a whole trial."""

from __future__ import annotations

import pytest

from energytune.config import EngineConfig
from energytune.trial import EpochsDone, Finished
from energytune.trial.run import run_trial


def curve(bench, job) -> tuple[list, Finished]:
    events = list(run_trial(bench, job))
    epochs = [epoch for event in events if isinstance(event, EpochsDone) for epoch in event.epochs]
    assert isinstance(events[-1], Finished)
    return epochs, events[-1]


def test_only_the_precision_addresses_other_features_and_trajectories(make_spec, make_job) -> None:
    recipe = make_job().recipe
    plain, fast, lowered = (
        make_spec(engine=engine).build().trajectory(recipe, 0)
        for engine in (
            EngineConfig(),
            EngineConfig(channels_last=True, n_processes=2),
            EngineConfig(precision="bf16"),
        )
    )
    assert plain == fast != lowered


def test_a_trial_in_bf16(make_spec, make_job) -> None:
    plain, _ = curve(make_spec().build(), make_job())
    lowered, finished = curve(make_spec(engine=EngineConfig(precision="bf16")).build(), make_job())
    assert lowered != plain
    assert lowered[-1].train_loss == pytest.approx(plain[-1].train_loss, rel=0.05)
    assert all(value == value for value in finished.adaptation.values())


@pytest.mark.integration
def test_a_trial_of_two_processes_is_that_of_one(make_spec, make_job) -> None:
    """The embedded network has neither batch normalisation nor dropout."""
    alone, finished = curve(make_spec().build(), make_job())
    bench = make_spec(engine=EngineConfig(n_processes=2)).build()
    together, ended = curve(bench, make_job())
    for ours, whole in zip(together, alone, strict=True):
        assert ours.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
        assert ours.valid_loss == pytest.approx(whole.valid_loss, rel=1e-4)
    assert ended.adaptation == pytest.approx(finished.adaptation, rel=1e-3, abs=1e-5)
