"""The last stages of a search: a race over further seeds, then test, read once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from energytune.config import SearchConfig
from energytune.optimizer import (
    ConfirmSource,
    FinalSource,
    Standing,
    StudySource,
    pick_candidates,
)
from energytune.science.noise import SeedNoise
from energytune.search.records_log import RecordsLog
from energytune.search.result import best_run
from energytune.trial import Observer, TrialRecord
from energytune.trial.evidence_file import evidence_name
from energytune.trial.model_files import ModelFiles

__all__ = ["Confirmation", "bring_model", "confirm_seeds"]

_FIRST_CONFIRM_SEED = 1000


def confirm_seeds(seed: int, n_seeds: int) -> list[int]:
    """Returns the seeds of the confirmation, none of which is the search's own.

    Args:
        seed: The search's.
        n_seeds: How many, >= 1.
    """
    return [(seed + _FIRST_CONFIRM_SEED + i) % 2**31 for i in range(n_seeds)]


class Confirmation:
    """Races the search's best few recipes and the baselines, then tests what remains.

    Runs of earlier starts count, and a model that was tested is not tested again. On disk remain
    the weights that can still be needed: those of the winner and the baselines until they are
    tested, then those of the winner's best run.

    Args:
        config: The search.
        log: Where runs of earlier starts are.
        models: The weights.

    Attributes:
        started_s: Second of the search's clock at which the race began; 0 before.
        seeds: Seeds of the race.
    """

    def __init__(self, config: SearchConfig, log: RecordsLog, models: ModelFiles) -> None:
        self._n_recipes = config.n_confirm_recipes
        self._log, self._models = log, models
        self._race: ConfirmSource | None = None
        self._final: FinalSource | None = None
        self.started_s = 0.0
        self.seeds = confirm_seeds(config.seed, config.n_confirm_seeds)

    def race(
        self, search: StudySource, now_s: float, observers: Sequence[Observer]
    ) -> ConfirmSource | None:
        """Makes the source of the race once the search has ended; None without a complete trial.

        Args:
            search: The search.
            now_s: Second of the search's clock.
            observers: Told of each run.
        """
        if search.best() is None:
            return None
        self.started_s = now_s
        roles = ("baseline_tau_0", "baseline_tau_max")
        baselines = {
            role: record
            for role, record in zip(roles, search.baselines(), strict=True)
            if record is not None and record.state == "COMPLETE"
        }
        candidates = pick_candidates(search.records, baselines, self._n_recipes, search.n_valid)
        wanted = {(candidate.number, candidate.key) for candidate in candidates}
        done = [
            r for r in self._log.confirmations() if (r.job.number, r.job.recipe.key()) in wanted
        ]
        self._race = ConfirmSource(candidates, self.seeds, done=done, observers=observers)
        return self._race

    def final(self, observers: Sequence[Observer]) -> FinalSource | None:
        """Makes the source that reads test once the race is over; None without a winner.

        The weights of those who have lost are deleted: disks are finite.

        Args:
            observers: Told of each job.
        """
        winner = self._race.winner() if self._race else None
        if self._race is None or winner is None:
            return None
        told = {s.number for s in self._race.standings() if s.is_baseline} | {winner.number}
        runs = [r for r in self._race.records if r.finished and r.job.number in told]
        self._delete_all_but({r.job.id for r in runs})
        best = best_run([r for r in runs if r.job.number == winner.number])
        gone = [best.job.id] if best and not self._models.exists(_weights_of(best.job.id)) else []
        self._final = FinalSource(runs, retrain=gone, observers=observers)
        return self._final

    def records(self) -> list[TrialRecord]:
        """Returns the race's runs, by rank and seed, with what was read on test."""
        tested = {r.job.id: r for r in self._final.records} if self._final else {}
        return [tested.get(r.job.id, r) for r in self._race.records] if self._race else []

    def standings(self) -> list[Standing]:
        """Returns how the recipes stand, the winner first; empty before the race."""
        return self._race.standings() if self._race else []

    def noise(self) -> SeedNoise | None:
        """Returns the seed noise of the objective; None before a recipe was repeated."""
        return self._race.noise if self._race else None

    def winner(self, search: StudySource) -> TrialRecord | None:
        """Returns the winner's trial: the race's, or the search's best while there is none."""
        standing = self._race.winner() if self._race else None
        if standing is None:
            return search.best()
        return next(r for r in search.records if r.job.number == standing.number)

    def keep_only(self, kept: TrialRecord | None) -> None:
        """Deletes the weights of all confirmed models but one; None keeps all."""
        if kept is not None:
            self._delete_all_but({kept.job.id})

    def _delete_all_but(self, kept: Collection[str]) -> None:
        for record in [*self._log.confirmations(), *self.records()]:
            if record.job.id not in kept:
                self._models.delete(_weights_of(record.job.id))


def _weights_of(job_id: str) -> str:
    return f"{job_id}.safetensors"


def bring_model(models: ModelFiles, kept: TrialRecord | None) -> None:
    """Fetches the files of the model that is kept, if they are not in the search's folder.

    Args:
        models: Files of the search.
        kept: The confirmation whose model it is; None does nothing.

    Raises:
        OutputError: The shared storage can't be read, or the disk is full.
    """
    if kept is not None:
        models.find(_weights_of(kept.job.id))
        models.find(evidence_name(kept.job.id))
