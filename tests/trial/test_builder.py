from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from energytune.config import Recipe
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import (
    EpochsDone,
    Finished,
    Job,
    ProbeDone,
    TestResult,
    TrialRecord,
    record_from_dict,
)
from energytune.trial.builder import RecordBuilder, non_finite, now_ms

JOB = Job("t003", 3, Recipe(tau=2, ft_lr=0.01), 0)
SNAPSHOTS = tuple(ProbeSnapshot(e, 0.5, 0.7, 0.4, 0.8, 0.6, 2.0, 0.5) for e in (0, 1, 2))
EPOCHS = tuple(FinetuneEpoch(e, 0.5, 0.8, 0.6, 0.7) for e in (1, 2, 3))
FINISHED = Finished(0.7, 2, 0.6, {"feature_norm": 1.0})


def test_events_become_a_record() -> None:
    builder = RecordBuilder(JOB, started_ms=1000)
    builder.add(ProbeDone(SNAPSHOTS, 1.5, 2))
    builder.add(EpochsDone(EPOCHS[:2], 0.25))
    builder.add(EpochsDone(EPOCHS[2:], 0.5))
    builder.add(FINISHED)
    assert builder.build("COMPLETE", ended_ms=3000) == TrialRecord(
        job=JOB,
        state="COMPLETE",
        snapshots=SNAPSHOTS,
        epochs=EPOCHS,
        finished=FINISHED,
        seconds_hp=1.5,
        seconds_ft=0.75,
        n_hp_epochs_run=2,
        started_ms=1000,
        ended_ms=3000,
    )


@pytest.mark.parametrize("state", ["PRUNED", "FAIL"])
def test_only_a_complete_trial_has_an_end(state: str) -> None:
    builder = RecordBuilder(JOB)
    builder.add(FINISHED)
    record = builder.build(state, "because", extra={"roles": []})  # type: ignore[arg-type]
    assert (record.state, record.reason) == (state, "because")
    assert record.finished is None
    assert record.objective is None
    assert record.extra == {"roles": []}


def test_only_a_complete_trial_has_a_stop_reason() -> None:
    builder = RecordBuilder(JOB)
    builder.add(replace(FINISHED, stop_reason="stopped: enough"))
    complete = builder.build("COMPLETE")
    assert (complete.stop_reason, complete.reason) == ("stopped: enough", "")
    assert [builder.build(state, "why").stop_reason for state in ("PRUNED", "FAIL")] == ["", ""]
    assert RecordBuilder(JOB).build("COMPLETE").stop_reason == ""


def test_a_record_of_an_earlier_version_is_read() -> None:
    builder = RecordBuilder(JOB)
    builder.add(replace(FINISHED, stop_reason="stopped: enough"))
    plain = json.loads(json.dumps(builder.build("COMPLETE").to_dict()))
    assert record_from_dict(plain).stop_reason == "stopped: enough"
    del plain["finished"]["stop_reason"]
    assert record_from_dict(plain).finished == FINISHED
    # and one whose test left no evidence file
    plain["finished"]["test"] = {"accuracy": 0.5, "loss": 0.7, "correct": [True, False]}
    tested = record_from_dict(plain).finished
    assert tested is not None
    assert tested.test == TestResult(0.5, 0.7, (True, False), evidence_path=None)


def test_without_events() -> None:
    before = now_ms()
    record = RecordBuilder(JOB).build("FAIL", "no start")
    assert before <= record.started_ms <= record.ended_ms <= now_ms()
    assert record.probe is None


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (SNAPSHOTS[1], ""),
        (EPOCHS[0], ""),
        (FINISHED, ""),
        (
            ProbeSnapshot(4, 0.5, math.inf, 0.4, 0.8, math.nan, 2.0, 0.5),
            "non-finite at HP epoch 4: train_loss = inf, aie = nan",
        ),
        (
            FinetuneEpoch(9, 0.5, 0.8, -math.inf, 0.7),
            "non-finite at FT epoch 9: valid_loss = -inf",
        ),
        (Finished(math.nan, 1, 0.1, {}), "non-finite at end: objective = nan"),
        (Finished(0.5, 1, math.nan, {}), "non-finite at end: best_valid_loss = nan"),
        (Finished(0.5, 1, 0.1, {"feature_norm": math.nan}), ""),
    ],
)
def test_non_finite(seen: ProbeSnapshot | FinetuneEpoch | Finished, reason: str) -> None:
    assert non_finite(seen) == reason
