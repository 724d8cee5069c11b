"""One trial end to end, its records, and the protocols through which the rim plugs in."""

from energytune.trial.chain import ChainSource
from energytune.trial.jobs import Idle, JobSource, Observer, RunJob, run_inline
from energytune.trial.records import (
    EpochsDone,
    Event,
    Finished,
    Job,
    Paused,
    ProbeDone,
    Probing,
    Role,
    State,
    Tested,
    TestResult,
    TrialRecord,
    record_from_dict,
)

__all__ = [
    "ChainSource",
    "EpochsDone",
    "Event",
    "Finished",
    "Idle",
    "Job",
    "JobSource",
    "Observer",
    "Paused",
    "ProbeDone",
    "Probing",
    "Role",
    "RunJob",
    "State",
    "TestResult",
    "Tested",
    "TrialRecord",
    "record_from_dict",
    "run_inline",
]
