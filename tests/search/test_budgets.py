from __future__ import annotations

from pathlib import Path

import pytest

from energytune.config import Recipe
from energytune.errors import BudgetError, ConfigError
from energytune.search.budgets import DiskBudget, GpuBudget, computed_s, folder_bytes
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Finished, Job, Paused, ProbeDone, Tested, TestResult
from energytune.trial import TrialRecord as Record


def job(number: int) -> Job:
    return Job(f"t{number:03d}", number, Recipe(tau=0, ft_lr=0.1), 0)


def ended(number: int, seconds: float, state: str = "COMPLETE") -> Record:
    return Record(job(number), state, seconds_ft=seconds)  # type: ignore[arg-type]


def trained(seconds: float) -> EpochsDone:
    return EpochsDone((FinetuneEpoch(1, 1.0, 0.5, 1.0, 0.5),), seconds)


def test_what_a_trial_has_computed() -> None:
    finished = Finished(0.5, 1, 1.0, {}, seconds=0.5)
    record = Record(job(0), "COMPLETE", finished=finished, seconds_hp=1.0, seconds_ft=2.0)
    assert computed_s(record) == 3.5
    assert computed_s(ended(0, 2.0, "PRUNED")) == 2.0


def test_gpu_hours_are_the_seconds_of_all_jobs_times_their_gpus() -> None:
    budget = GpuBudget(1.0, 0.5, n_confirm_runs=0)
    budget.job_started(job(0))
    budget.job_progress(job(0), [ProbeDone((), 600.0, 4), trained(1200.0), Paused(1)])
    budget.job_progress(job(0), [trained(1200.0), Finished(0.5, 1, 1.0, {}, seconds=600.0)])
    assert budget.hours == pytest.approx(0.5)
    budget.job_progress(job(1), [Tested(TestResult(0.5, 1.0, ()), 1800.0)])
    budget.add_earlier([ended(2, 1440.0)])
    assert budget.hours == pytest.approx(0.95)
    assert not budget.is_over()
    budget.job_progress(job(1), [trained(360.0)])
    assert budget.is_over()


def test_gpu_hours_are_kept_for_the_confirmation_and_for_what_runs() -> None:
    budget = GpuBudget(1.0, 1.0, n_confirm_runs=3)
    records = [ended(number, 600.0) for number in range(2)]
    for record in records:
        budget.job_started(record.job)
        budget.job_progress(record.job, [trained(600.0)])
        budget.job_ended(record)
    # 2400 s are left: one trial and 3 confirmations of 600 s leave nothing
    assert budget.reason(records) == "budget of 1 GPU-hours"
    assert budget.reason(records, n_confirmed=1) == ""
    budget.job_started(job(7))
    assert budget.reason(records, n_confirmed=1) == "budget of 1 GPU-hours"
    budget.job_progress(job(7), [Paused(1)])
    assert budget.reason(records, n_confirmed=1) == ""


def test_without_a_limit_of_gpu_hours_any_trial_fits() -> None:
    budget = GpuBudget(None, 0.0, n_confirm_runs=3)
    budget.job_progress(job(0), [trained(1e9)])
    assert budget.reason([ended(0, 1e9)]) == ""
    assert not budget.is_over()


def test_gpu_hours_need_gpus() -> None:
    with pytest.raises(ConfigError, match=r"gpu_hours = 2 needs GPUs.*--time-budget"):
        GpuBudget(2.0, 0.0, n_confirm_runs=3)


def write(path: Path, n_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * n_bytes)


def test_bytes_of_a_folder(tmp_path: Path) -> None:
    assert folder_bytes(tmp_path / "nowhere") == 0
    write(tmp_path / "a", 10)
    write(tmp_path / "b" / "c", 5)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert folder_bytes(tmp_path) == 15 + (tmp_path / "link").lstat().st_size


def test_on_disk_the_folder_counts_and_what_is_added_to_the_cache(tmp_path: Path) -> None:
    out, cache, now = tmp_path / "out", tmp_path / "cache", [0.0]
    write(cache / "earlier", 10_000)
    budget = DiskBudget(1000, out, cache, least_bytes=200, clock=lambda: now[0])
    assert budget.feature_bytes == 400
    write(cache / "features", 300)
    assert budget.state_bytes() == 250
    write(out / "models" / "w", 500)
    assert budget.used_bytes == 800
    assert budget.reason() == ""
    write(out / "records", 300)
    assert budget.reason() == ""  # it was looked at just now
    now[0] = 6.0
    assert budget.reason() == "disk budget of 1.0 kB"
    (out / "records").unlink()
    now[0] = 20.0
    assert budget.reason() == "disk budget of 1.0 kB"  # once over, the search has ended


def test_what_can_not_fit_on_disk_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"1\.0 kB is too little.*at least 2\.0 kB"):
        DiskBudget(1000, tmp_path, tmp_path, least_bytes=2000)


def test_without_a_limit_nothing_is_bounded(tmp_path: Path) -> None:
    budget = DiskBudget(None, tmp_path, tmp_path, least_bytes=2000)
    write(tmp_path / "a", 10_000)
    assert (budget.feature_bytes, budget.state_bytes(), budget.reason()) == (None, None, "")
