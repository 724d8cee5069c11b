"""A trial that is paused and goes on tells what one tells that was never paused."""

from __future__ import annotations

import json
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from energytune.config import FinetuneConfig
from energytune.training.tuner_state import peek_state
from energytune.trial import EpochsDone, Finished, ProbeDone, Probing
from energytune.trial.checkpoints import Checkpoints
from energytune.trial.model_files import ModelFiles
from energytune.trial.run import run_trial

PAUSES = {"finetune": FinetuneConfig(epochs=5, patience=None), "pause_epochs": frozenset({1, 3})}


def timeless(events) -> list:
    return [replace(event, seconds=0.0) for event in events if not isinstance(event, Probing)]


def until(bench, job, epoch: int) -> list:
    """The events up to a finetuning epoch, at which the job is closed."""
    told = []
    with closing(run_trial(bench, job)) as events:
        for event in events:
            told.append(event)
            if isinstance(event, EpochsDone) and event.epochs[-1].epoch == epoch:
                break
    return told


@pytest.mark.parametrize("recipe", [{"tau": 4}, {"tau": 2, "reinit_depth": 2, "head_arch": "mlp"}])
def test_paused_twice_it_tells_the_same_and_trains_nothing_twice(
    make_spec, make_job, trained, tmp_path, recipe
) -> None:
    job = make_job(**recipe)
    whole = timeless(run_trial(make_spec(**PAUSES | {"pause_epochs": frozenset()}).build(), job))
    trained.clear()
    parts = timeless(until(make_spec(**PAUSES).build(), job, 1))
    for resume, pause in ((1, 3), (3, 5)):  # each in a process of its own, as it were
        bench = make_spec(**PAUSES).build()
        parts += timeless(until(bench, replace(job, resume_epoch=resume), pause))
    assert [e.epochs[0].epoch for e in parts if isinstance(e, EpochsDone)] == [1, 2, 3, 4, 5]
    assert [type(event) for event in parts].count(ProbeDone) == 1
    assert trained == [1, 2, 3, 4, 5]
    end = list(run_trial(make_spec(**PAUSES).build(), replace(job, resume_epoch=3)))[-1]
    assert isinstance(end, Finished)
    without_cache = [replace(e, n_epochs_run=0) if isinstance(e, ProbeDone) else e for e in whole]
    told = [replace(e, n_epochs_run=0) if isinstance(e, ProbeDone) else e for e in parts]
    assert [*told, *timeless([end])] == without_cache
    assert len(list((tmp_path / "models" / "checkpoints").iterdir())) == 1  # the search deletes it


def lost(path: Path) -> None:
    path.unlink()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def renamed(path: Path) -> None:
    """Holds tensors of which nobody knows what they are."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + size].replace(b'"model/', b'"mddel/')
    path.write_bytes(content[:8] + header + content[8 + size :])


def of_another_seed(path: Path) -> None:
    content = path.read_bytes()
    changed = content.replace(b'\\"seed\\": 0', b'\\"seed\\": 7')
    assert changed != content
    path.write_bytes(changed)


@pytest.mark.parametrize("harm", [lost, torn, empty, renamed, of_another_seed])
def test_without_its_state_it_is_trained_again_silently(
    make_spec, make_job, trained, tmp_path, harm
) -> None:
    job, spec = make_job(), make_spec(**PAUSES)
    until(spec.build(), job, 3)
    resumed = replace(job, resume_epoch=3)
    expected = timeless(until(spec.build(), resumed, 5))
    harm(*(tmp_path / "models" / "checkpoints").iterdir())
    trained.clear()
    assert timeless(until(spec.build(), resumed, 5)) == expected
    assert trained == [1, 2, 3, 4, 5]


def test_with_an_earlier_state_only_what_came_after_it_is_trained_again(
    make_spec, make_job, trained
) -> None:
    job, spec = make_job(), make_spec(**PAUSES)
    until(spec.build(), job, 1)
    trained.clear()
    told = until(spec.build(), replace(job, resume_epoch=3), 4)
    assert [event.epochs[0].epoch for event in told] == [4]
    assert trained == [2, 3, 4]


def test_with_a_later_state_what_it_has_is_told_and_not_trained(
    make_spec, make_job, trained
) -> None:
    """The trial went on after the pause and was lost, and the search waits at the pause again."""
    job, spec = make_job(), make_spec(**PAUSES)
    whole = timeless(run_trial(spec.build(), job))
    until(spec.build(), job, 3)
    trained.clear()
    told = timeless(run_trial(spec.build(), replace(job, resume_epoch=1)))
    assert [[e.epoch for e in event.epochs] for event in told[:-1]] == [[2, 3], [4], [5]]
    assert [e for event in told[:-1] for e in event.epochs] == [
        e for event in whole[1:-1] for e in event.epochs[-1:] if e.epoch > 1
    ]
    assert told[-1] == whole[-1]
    assert trained == [4, 5]


def test_it_stops_by_itself_where_it_would_have(make_spec, make_job) -> None:
    finetune = FinetuneConfig(epochs=8, schedule="constant", patience=1 / 8)
    spec = make_spec(finetune=finetune, pause_epochs=frozenset({1}))
    job = make_job(0, ft_lr=0.05)
    *_, last, end = run_trial(spec.build(), job)
    assert 1 < last.epochs[0].epoch < 8
    until(spec.build(), job, 1)
    *_, last_again, end_again = run_trial(spec.build(), replace(job, resume_epoch=1))
    assert timeless([last_again, end_again]) == timeless([last, end])


@pytest.mark.parametrize(
    ("pauses", "role", "epoch"),
    [
        ({}, "search", 1),
        ({"pause_epochs": frozenset({1})}, "search", 2),
        ({"pause_epochs": frozenset({1})}, "confirm", 1),
    ],
)
def test_a_job_that_cannot_go_on_keeps_no_state(
    make_spec, make_job, tmp_path, pauses, role, epoch
) -> None:
    finetune = FinetuneConfig(epochs=3, patience=None)
    until(make_spec(finetune=finetune, **pauses).build(), make_job(role=role), epoch)
    assert not (tmp_path / "models").exists()


def test_the_file_is_no_pickle_and_half_as_big_while_the_curve_rises(
    make_spec, make_job, tmp_path
) -> None:
    job, spec = make_job(), make_spec(**PAUSES)
    until(spec.build(), job, 1)
    (path,) = (tmp_path / "models" / "checkpoints").iterdir()
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["state"])
        parts = {key.split("/")[0] for key in file.keys()}  # noqa: SIM118
    assert (header["epoch"], header["best"]["epoch"]) == (1, 1)
    assert parts == {"model", "momentum"}
    found = Checkpoints(ModelFiles(tmp_path / "models")).load(job)
    assert found is not None
    assert found.state["best_model"].keys() == found.state["model"].keys()


def test_a_disk_that_cannot_be_written_is_no_failure(make_spec, make_job, tmp_path) -> None:
    (tmp_path / "models").write_text("in the way")
    job, spec = make_job(), make_spec(**PAUSES)
    assert until(spec.build(), job, 1)
    assert until(spec.build(), replace(job, resume_epoch=1), 2)


def test_all_states_are_dropped_and_models_stay(make_spec, make_job, tmp_path) -> None:
    spec = make_spec(**PAUSES)
    until(spec.build(), make_job(), 1)
    model = tmp_path / "models" / "c000-s1000.safetensors"
    model.touch()
    for _ in range(2):
        Checkpoints(ModelFiles(tmp_path / "models")).drop_all()
    assert list((tmp_path / "models").iterdir()) == [model]


def test_over_its_room_the_states_of_the_least_promising_are_dropped(
    make_spec, make_job, tmp_path
) -> None:
    bench = make_spec(**PAUSES).build()
    jobs = [make_job(1), make_job(2), make_job(3)]
    for job, epoch in zip(jobs, (3, 1, 1), strict=True):
        until(bench, job, epoch)
    kept = Checkpoints(ModelFiles(tmp_path / "models"))
    folder = tmp_path / "models" / "checkpoints"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert len(sizes) == 3
    first = next(path for path in folder.iterdir() if peek_state(path)[0] == 3).name
    # one more of the first epoch: of the three that came no further the best one may stay
    last, room = make_job(4), sizes[first] + max(sizes.values())
    until(make_spec(**PAUSES, max_state_bytes=room).build(), last, 1)
    left = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert first in left
    assert kept.load(jobs[0]) is not None
    assert sum(left.values()) <= room

    bench = make_spec(**PAUSES, max_state_bytes=0).build()
    until(bench, make_job(5), 1)
    assert not list(folder.iterdir())
    gone = replace(jobs[0], resume_epoch=3)
    assert timeless(run_trial(bench, gone)) == timeless(run_trial(bench, jobs[0]))[-3:]
