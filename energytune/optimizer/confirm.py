"""The confirmation as a source of jobs: a race of the best few recipes over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energytune.config import Recipe
from energytune.optimizer.candidates import Candidate, confirm_job
from energytune.optimizer.race import ALPHA, beaten
from energytune.optimizer.running import RunningJobs
from energytune.science.noise import SeedNoise, seed_noise
from energytune.trial import Event, Idle, Job, Observer, TrialRecord
from energytune.trial.builder import INTERRUPTED

__all__ = ["ConfirmSource", "Standing"]


@dataclass(frozen=True)
class Standing:
    """One recipe after the race.

    Attributes:
        number: Number of the recipe's trial in the search.
        recipe: The recipe.
        mean: Mean objective (FT-valid-acc) over the seeds it finished, in [0, 1]; None without.
        n_seeds: Seeds it finished.
        dropped: Why it got no more seeds, or can't win; empty if neither.
        roles: ``"candidate"``, ``"baseline_tau_0"``, ``"baseline_tau_max"``; one or more.
    """

    number: int
    recipe: Recipe
    mean: float | None
    n_seeds: int
    dropped: str = ""
    roles: tuple[str, ...] = ("candidate",)

    @property
    def name(self) -> str:
        """Name of its trial, ``"t007"``."""
        return f"t{self.number:03d}"

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of the baselines."""
        return any(role.startswith("baseline") for role in self.roles)


class ConfirmSource:
    """A :class:`~energytune.trial.JobSource` that races recipes, seed by seed, unpruned.

    After each seed but the last, :func:`~energytune.optimizer.race.beaten` says who gets no
    more of them; baselines always run on all. It looks at whole rounds only, a round being one
    seed of everybody who is left, so that neither the number of jobs at once nor an interruption
    changes what comes out. While a round waits for its last job, baselines run ahead. The seed
    deviation is pooled over all recipes of the race and their ``earlier`` runs. A recipe with a
    failed run gets no more seeds and can't win, unless all have failed; the others' race is
    judged again as if it had not run, so that nobody is out who was beaten by it alone.

    Args:
        candidates: In the order of the search's ranking, distinct recipes.
        seeds: Seeds of initialisation and batch order; repeated ones count once.
        done: Complete runs of earlier starts; they are not run again.
        observers: Told of each job.
        alpha: Of the racing rule.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        seeds: Sequence[int],
        *,
        done: Sequence[TrialRecord] = (),
        observers: Sequence[Observer] = (),
        alpha: float = ALPHA,
    ) -> None:
        self._candidates = {candidate.key: candidate for candidate in candidates}
        self._seeds = tuple(dict.fromkeys(seeds))
        self._observers, self._alpha = observers, alpha
        self._jobs = RunningJobs(observers)
        self._ended = {
            (r.job.recipe.key(), r.job.seed): r
            for r in done
            if r.job.recipe.key() in self._candidates and r.job.seed in self._seeds
        }
        self._begun = set(self._ended)
        self._round = 0
        self._failed: dict[str, str] = {}
        self._beaten: dict[str, str] = {}
        self._advance()

    @property
    def records(self) -> list[TrialRecord]:
        """Runs that have ended in any state, those of earlier starts included, by rank and seed."""
        place = {key: i for i, key in enumerate(self._candidates)}
        return sorted(self._ended.values(), key=lambda r: (place[r.job.recipe.key()], r.job.seed))

    @property
    def dropped(self) -> dict[str, str]:
        """Why a recipe gets no more seeds, or can't win, by the recipe's key."""
        return self._failed | self._beaten

    @property
    def is_over(self) -> bool:
        """Whether every seed has been run by everybody who is left."""
        return self._round == len(self._seeds)

    @property
    def noise(self) -> SeedNoise | None:
        """Seed noise of the objective over all that has ended; None without repeats."""
        return self._noise(self._seeds)

    def standings(self) -> list[Standing]:
        """Returns the recipes from the best: those with most seeds first, then by mean.

        Those that are beaten come last, whatever an earlier start has run of them. Of equals
        the one that the search had ranked higher comes first.
        """
        found = []
        for key, candidate in self._candidates.items():
            runs = self._objectives(key, self._seeds)
            mean = math.fsum(runs.values()) / len(runs) if runs else None
            found.append(
                Standing(
                    candidate.number,
                    candidate.recipe,
                    mean,
                    len(runs),
                    self.dropped.get(key, ""),
                    candidate.roles,
                )
            )
        out = {self._candidates[key].number for key in self._beaten}
        return sorted(found, key=lambda s: (s.number in out, -s.n_seeds, -(s.mean or 0.0)))

    def winner(self) -> Standing | None:
        """Returns the best by mean of those with all seeds; None before the race is over.

        Where all recipes have a failed run, one of those with most seeds wins; None if no run
        is complete.
        """
        if not self.is_over:
            return None
        first = next(iter(self.standings()), None)
        return first if first is not None and first.n_seeds else None

    def next_job(self) -> Job | Idle:
        """Returns the next job, ``WAIT`` while a round is not complete, then ``DONE``."""
        for place, seed in enumerate(self._seeds):
            for key in self._alive():
                ahead = place > self._round
                if (key, seed) in self._begun or (ahead and not self._is_kept(key)):
                    continue
                candidate = self._candidates[key]
                self._begun.add((key, seed))
                return self._jobs.start(confirm_job(candidate.number, candidate.recipe, seed))
        return Idle.WAIT if len(self._jobs) else Idle.DONE

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True only if a number is not finite."""
        return self._jobs.take(job_id, events)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Keeps the record: COMPLETE if the job has finished, else FAIL.

        An interrupted job is no result: its round stays open, and it is run by the next start.
        """
        record, _ = self._jobs.end(job_id, error)
        if record.reason != INTERRUPTED:
            self._ended[record.job.recipe.key(), record.job.seed] = record
            self._advance()
        for observer in self._observers:
            observer.job_ended(record)

    def _advance(self) -> None:
        """Closes the rounds that are complete."""
        while self._round < len(self._seeds):
            seeds = self._seeds[: self._round + 1]
            if not all((key, seed) in self._ended for key in self._alive() for seed in seeds):
                return
            if self._drop_failed(seeds):
                continue
            self._round += 1
            if self._round < len(self._seeds):  # else no seed is left to be saved
                self._drop_beaten(seeds)

    def _drop_failed(self, seeds: Sequence[int]) -> bool:
        """Drops who has a failed run; returns whether there is a new one, and begins anew then."""
        n_failed = len(self._failed)
        for key in [key for key in self._alive() if key not in self._failed]:
            failed = [r for s in seeds if (r := self._ended[key, s]).state != "COMPLETE"]
            if failed:
                reason = f"its run on seed {failed[0].job.seed} failed: {failed[0].reason}"
                self._failed[key] = reason
        if len(self._failed) == n_failed:
            return False
        self._beaten.clear()
        self._round = 0
        return True

    def _drop_beaten(self, seeds: Sequence[int]) -> None:
        """Drops who is beaten on ``seeds``, the rounds so far."""
        racing = {
            key: self._objectives(key, seeds) for key in self._candidates if key not in self.dropped
        }
        protected = [key for key in racing if self._is_kept(key)]
        out = beaten(racing, noise=self._noise(seeds), alpha=self._alpha, protected=protected)
        for key, verdict in out.items():
            self._beaten[key] = verdict.reason(self._candidates[verdict.leader].name)

    def _alive(self) -> list[str]:
        """Returns the keys of those who get the next seed."""
        return [key for key in self._candidates if key not in self.dropped or self._is_kept(key)]

    def _is_kept(self, key: str) -> bool:
        return self._candidates[key].is_baseline

    def _objectives(self, key: str, seeds: Sequence[int]) -> dict[int, float]:
        ended: Mapping[int, TrialRecord | None] = {s: self._ended.get((key, s)) for s in seeds}
        return {s: r.objective for s, r in ended.items() if r and r.objective is not None}

    def _noise(self, seeds: Sequence[int]) -> SeedNoise | None:
        return seed_noise(
            {
                key: [*candidate.earlier, *self._objectives(key, seeds).values()]
                for key, candidate in self._candidates.items()
            }
        )
