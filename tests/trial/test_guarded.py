from __future__ import annotations

from energytune.cluster.ledger import JobLedger
from energytune.errors import ResourceError
from energytune.trial import EpochsDone, Job
from energytune.trial.guarded import GuardedSource
from tests.optimizer.fakes import N_EPOCHS, ft_epoch, make_source, memory_study


def test_once_the_check_fails_nothing_is_told_any_more() -> None:
    lost = []

    def check() -> None:
        if lost:
            raise ResourceError("taken over")

    study = memory_study()
    ledger = JobLedger(GuardedSource(make_source(study), check), 2)
    assert isinstance(ledger.next_job("a"), Job)
    assert isinstance(ledger.next_job("b"), Job)
    assert not ledger.deliver("a", [EpochsDone((ft_epoch(N_EPOCHS // 2, 0.5),), 1.0)])
    before = [(t.state, t.user_attrs, t.intermediate_values) for t in study.trials]
    lost.append(True)
    assert ledger.deliver("b", [EpochsDone((ft_epoch(N_EPOCHS // 2, 0.5),), 1.0)])
    ledger.end("a")
    ledger.end_all()
    assert [(t.state, t.user_attrs, t.intermediate_values) for t in study.trials] == before
    assert isinstance(ledger.failure, ResourceError)
