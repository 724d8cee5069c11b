"""The search as a source of jobs: asks the study what to run, tells it what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from optuna.study import Study
from optuna.trial import Trial, TrialState

from energytune.config import SearchSpace
from energytune.optimizer.attrs import (
    counts,
    first_runs,
    is_interrupted,
    records_from_study,
    report_ends,
    write_duplicate,
    write_end,
    write_probe,
    write_start,
)
from energytune.optimizer.pruner import ask_pruner
from energytune.optimizer.queue import N_DUPLICATES, baseline_roles, prepare
from energytune.optimizer.rungs import reported_epochs
from energytune.optimizer.suggest import suggest
from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Idle,
    Job,
    Observer,
    ProbeDone,
    Role,
    State,
    TrialRecord,
)
from energytune.trial.builder import RecordBuilder, non_finite

__all__ = ["StudySource"]


@dataclass
class _Running:
    trial: Trial
    builder: RecordBuilder
    failure: str = ""
    pruned: str = ""

    @property
    def stopped(self) -> bool:
        return bool(self.failure or self.pruned)


class StudySource:
    """A :class:`~energytune.trial.JobSource` behind which Optuna stands.

    Trials of the study that were RUNNING when it starts are told FAIL (``interrupted``) and run
    again; everything else in it counts, so the same search started twice goes on. A suggested
    recipe that was begun before is not run: it is told what the first one was told. States are
    true: COMPLETE means finished, PRUNED stopped by the pruner, FAIL a crash or a number that
    is not finite.

    Args:
        study: Opened with :func:`energytune.optimizer.open_study`; one search at a time.
        space: What is searched.
        n_trials: Trials to begin, >= 1, baselines and those already in the study included.
        seed: Seed of every trial's initialisation and batch order.
        baseline_taus: 0 and tau max of the space as it is without fixed dimensions.
        budget: Returns whether there is time left to begin a trial; None is no limit.
        observers: Told of each job that is run; not of duplicates.

    Attributes:
        exhausted: Whether the search ended because every suggestion had been run.
        reported_epochs: Finetuning epochs at which a trial may be pruned; executors send at
            least at these.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        *,
        n_trials: int,
        seed: int,
        baseline_taus: Iterable[int] = (0, 4096),
        budget: Callable[[], bool] | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._study = study
        self._space = space
        self._n_trials = n_trials
        self._seed = seed
        self._has_time = budget or (lambda: True)
        self._observers = observers
        self._baseline_taus = baseline_roles(baseline_taus)
        self._running: dict[str, _Running] = {}
        self.exhausted = False
        self.reported_epochs = reported_epochs(study.pruner, space.finetune.epochs)

        prepare(study, space, baseline_taus=self._baseline_taus.values(), seed=seed)
        self._n_begun = sum(counts(trial) for trial in study.get_trials(deepcopy=False))
        self._first_runs = first_runs(study)
        self._records = {record.job.number: record for record in records_from_study(study)}

    @property
    def records(self) -> list[TrialRecord]:
        """Trials that have ended in any state, by number, those of earlier starts included."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def n_trials(self) -> int:
        """Trials to begin in all."""
        return self._n_trials

    @property
    def n_duplicates(self) -> int:
        """Suggestions that were not run because they had been run; no part of ``records``."""
        trials = self._study.get_trials(deepcopy=False)
        return sum("duplicate_of" in trial.user_attrs for trial in trials)

    def best(self) -> TrialRecord | None:
        """Returns the complete trial of the highest objective, None if there is none.

        Ties go to the lower validation loss, then to the lower number.
        """
        ranked = [
            ((-end.objective, end.best_valid_loss, record.job.number), record)
            for record in self._records.values()
            if (end := record.finished) is not None
        ]
        return min(ranked, key=lambda pair: pair[0])[1] if ranked else None

    def baselines(self) -> tuple[TrialRecord | None, TrialRecord | None]:
        """Returns the ended trials of tau = 0 and tau = max, None where there is none."""
        return self._baseline("baseline_tau_0"), self._baseline("baseline_tau_max")

    def _baseline(self, role: Role) -> TrialRecord | None:
        if role not in self._baseline_taus:
            return None
        by_role = [record for record in self.records if record.job.role == role]
        if by_role:
            return by_role[-1]
        key = self._space.baseline(self._baseline_taus[role]).key()
        return self._records.get(self._first_runs.get(key, -1))

    def next_job(self) -> Job | Idle:
        """Returns the next job, ``WAIT`` while jobs run and none is to begin, then ``DONE``."""
        if not self.exhausted and self._n_begun < self._n_trials and self._has_time():
            for _ in range(N_DUPLICATES):
                job = self._ask()
                if job is not None:
                    return job
            self.exhausted = True
        return Idle.WAIT if self._running else Idle.DONE

    def _ask(self) -> Job | None:
        """Returns a job for one more trial of the study, None if that was a duplicate."""
        trial = self._study.ask()
        recipe = suggest(trial, self._space)
        attrs = trial.user_attrs
        job = Job(
            id=f"t{trial.number:03d}",
            number=trial.number,
            recipe=recipe,
            seed=attrs.get("seed", self._seed),
            role=attrs.get("role", "search"),
        )
        original = self._first_runs.get(recipe.key())
        if original is not None:
            self._tell_duplicate(trial, job, original)
            return None
        write_start(trial, job)
        self._first_runs[recipe.key()] = trial.number
        self._n_begun += 1
        self._running[job.id] = _Running(trial, RecordBuilder(job))
        for observer in self._observers:
            observer.job_started(job)
        return job

    def _tell_duplicate(self, trial: Trial, job: Job, number: int) -> None:
        original = self._study.get_trials(deepcopy=False)[number]
        if original.state == TrialState.RUNNING:
            write_duplicate(trial, job, number, f"duplicate of running trial {number}")
            self._study.tell(trial, state=TrialState.FAIL)
            return
        write_duplicate(trial, job, number, f"duplicate of trial {number}")
        if original.state == TrialState.COMPLETE:
            self._study.tell(trial, original.value)
            return
        if original.state == TrialState.PRUNED and original.last_step is not None:
            # Optuna takes the value of a pruned trial from its last report.
            step = original.last_step
            trial.report(original.intermediate_values[step], step)
        self._study.tell(trial, state=original.state)

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True to stop the job. Later events are dropped."""
        run = self._running[job_id]
        taken: list[Event] = []
        for event in events:
            if run.stopped:
                break
            taken.append(self._take(run, event))
        if taken:
            for observer in self._observers:
                observer.job_progress(run.builder.job, taken)
        return run.stopped

    def _take(self, run: _Running, event: Event) -> Event:
        """Takes one event; returns it without the epochs after a stop."""
        if isinstance(event, ProbeDone):
            write_probe(run.trial, event)
            run.failure = next(filter(None, map(non_finite, event.snapshots)), "")
            if not run.failure:
                self._look(run)
        elif isinstance(event, EpochsDone):
            event = self._take_epochs(run, event)
        elif isinstance(event, Finished):
            run.failure = non_finite(event)
        run.builder.add(event)
        return event

    def _take_epochs(self, run: _Running, event: EpochsDone) -> EpochsDone:
        for i, epoch in enumerate(event.epochs, start=1):
            run.failure = non_finite(epoch)
            if not run.failure and epoch.epoch in self.reported_epochs:
                run.trial.report(epoch.valid_acc, epoch.epoch)
                self._look(run)
            if run.stopped:
                return replace(event, epochs=event.epochs[:i])
        return event

    def _look(self, run: _Running) -> None:
        """Asks the pruner about the trial as the study has it."""
        trial = self._study.get_trials(deepcopy=False)[run.trial.number]
        reason = ask_pruner(self._study.pruner, self._study, trial)
        # Baselines are asked about as well: the pruner may take notes of their rungs.
        if reason is not None and run.builder.job.role == "search":
            run.pruned = reason

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Tells the study how the job has ended."""
        run = self._running.pop(job_id)
        state, reason = _verdict(run, error)
        record = run.builder.build(state, reason)
        if record.finished:
            report_ends(run.trial, record.epochs, record.finished)
        write_end(run.trial, record)
        self._study.tell(run.trial, record.objective, state=TrialState[state])
        if is_interrupted(self._study.get_trials(deepcopy=False)[run.trial.number]):
            self._n_begun -= 1
            self._first_runs.pop(record.job.recipe.key(), None)
        else:
            self._records[record.job.number] = record
        for observer in self._observers:
            observer.job_ended(record)


def _verdict(run: _Running, error: str | None) -> tuple[State, str]:
    """Returns the state in which a job has ended, and why if it is not complete."""
    if run.failure:
        return "FAIL", run.failure
    if run.pruned:
        return "PRUNED", run.pruned
    if run.builder.finished is not None:
        return "COMPLETE", ""
    return "FAIL", error or "the job ended before it had finished"
