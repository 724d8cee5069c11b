from __future__ import annotations

from collections.abc import Generator, Sequence

from energytune.config import Recipe
from energytune.trial import Event, Finished, Idle, Job, JobSource, run_inline
from energytune.trial.chain import ChainSource

RECIPE = Recipe(tau=1, ft_lr=0.1)


class Listed:
    """Gives out its jobs; notes what it is told."""

    def __init__(self, *ids: str) -> None:
        self.waiting = [Job(i, 0, RECIPE, 0) for i in ids]
        self.running: set[str] = set()
        self.told: list[tuple[str, object]] = []

    def next_job(self) -> Job | Idle:
        if not self.waiting:
            return Idle.WAIT if self.running else Idle.DONE
        job = self.waiting.pop(0)
        self.running.add(job.id)
        return job

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        self.told.append((job_id, len(events)))
        return job_id == "b"

    def on_end(self, job_id: str, error: str | None = None) -> None:
        self.running.remove(job_id)
        self.told.append((job_id, error))


class Hasty(Listed):
    """Says DONE while its jobs still run."""

    def next_job(self) -> Job | Idle:
        answer = super().next_job()
        return Idle.DONE if answer is Idle.WAIT else answer


def run_job(job: Job) -> Generator[Event, None, None]:
    yield Finished(0.5, 1, 0.1, {})


def test_one_after_the_other() -> None:
    first, second = Listed("a", "b"), Listed("c")
    made: list[str] = []

    def make_second() -> JobSource:
        made.append(f"after {len(first.told)} calls")
        return second

    chain = ChainSource([lambda: first, lambda: None, make_second])
    run_inline(chain, run_job)
    assert first.told == [("a", 1), ("a", None), ("b", 1), ("b", None)]
    assert second.told == [("c", 1), ("c", None)]
    assert made == ["after 4 calls"]
    assert chain.next_job() is Idle.DONE


def test_the_next_one_begins_when_all_jobs_have_ended() -> None:
    for kind in (Listed, Hasty):
        first, second = kind("a", "b"), Listed("c")
        chain = ChainSource([lambda first=first: first, lambda second=second: second])  # type: ignore[misc]
        assert [getattr(chain.next_job(), "id", None) for _ in range(2)] == ["a", "b"]
        assert chain.next_job() is Idle.WAIT
        assert chain.on_events("b", [Finished(0.5, 1, 0.1, {})]) is True
        chain.on_end("b")
        assert chain.next_job() is Idle.WAIT
        chain.on_end("a", "ValueError: no")
        assert first.told[-1] == ("a", "ValueError: no")
        assert getattr(chain.next_job(), "id", None) == "c"


def test_nothing_to_do() -> None:
    assert ChainSource([]).next_job() is Idle.DONE
    assert ChainSource([lambda: None, lambda: Listed()]).next_job() is Idle.DONE
