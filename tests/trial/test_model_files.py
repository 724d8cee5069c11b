from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import ray.cloudpickle

from energytune.errors import DataError, OutputError
from energytune.storage import SharedStorage
from energytune.trial import Finished, Tested
from energytune.trial.model_files import ModelFiles
from energytune.trial.run import build_here, make_run_job

NAME = "c000-s1000.safetensors"


def of_search(folder: Path, storage: str | None, cache: Path | None = None) -> ModelFiles:
    return ModelFiles.of_search(folder, storage, "abc", cache)


def test_without_a_storage_a_file_is_in_the_folder_that_all_see(tmp_path: Path) -> None:
    worker, driver = of_search(tmp_path, None, tmp_path / "cache"), of_search(tmp_path, None)
    assert worker.path(NAME) == tmp_path / NAME
    assert driver.find(NAME) is None
    worker.path(NAME).write_text("weights")
    assert worker.publish(NAME) == str(tmp_path / NAME)
    worker.release(NAME)
    assert driver.find(NAME) == worker.find(NAME) == tmp_path / NAME
    driver.delete(NAME)
    assert not driver.exists(NAME)


def test_a_worker_hands_a_file_on_and_keeps_nothing(tmp_path: Path) -> None:
    url, out, cache = f"memory://{tmp_path.name}/s", tmp_path / "out", tmp_path / "node"
    worker, driver = of_search(out, url, cache), of_search(out, url)
    worker.path(NAME).parent.mkdir(parents=True)
    worker.path(NAME).write_text("weights")
    assert worker.publish(NAME) == str(out / NAME)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert not out.exists()
    other = of_search(out, url, tmp_path / "other-node")
    assert driver.exists(NAME)
    assert other.exists(NAME)
    found = other.find(NAME)
    assert found is not None
    assert found.read_text() == "weights"
    assert driver.find(NAME) == out / NAME
    assert (out / NAME).read_text() == "weights"
    driver.delete(NAME)
    assert not (out / NAME).exists()
    assert SharedStorage(url).names() == []
    assert driver.find("c001-s1000.safetensors") is None


def test_searches_do_not_meet(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/s"
    one, two = (ModelFiles.of_search(tmp_path / i, url, i) for i in ("one", "two"))
    one.path(NAME).parent.mkdir()
    one.path(NAME).write_text("weights")
    one.publish(NAME)
    assert not two.exists(NAME)


def test_a_model_that_can_not_be_handed_on_is_an_error_and_one_to_delete_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    files = of_search(tmp_path, str(tmp_path / "file" / "s"))
    files.path(NAME).write_text("weights")
    with pytest.raises(OutputError, match="can't be written"):
        files.publish(NAME)
    with caplog.at_level(logging.WARNING, "energytune"):
        files.delete(NAME)
    assert not files.path(NAME).exists()


def test_other_data_or_weights_than_the_searchs_are_refused(
    make_spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    bench = spec.build()
    ours = (bench.splits.fingerprint, bench.backbone.weights_sha256)
    monkeypatch.setenv("ENERGYTUNE_CACHE", "")
    assert build_here(replace(spec, content=ours)).splits.fingerprint == ours[0]
    for content, what in ((("0" * 64, ours[1]), "data"), ((ours[0], "0" * 64), "backbone's weig")):
        with pytest.raises(DataError, match=rf"The {what}.* instead of 000000000000\). Copy"):
            build_here(replace(spec, content=content))


def test_a_node_that_sees_no_folder_of_the_driver_trains_and_another_tests(
    make_spec, make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not-here").write_text("the driver's folders can't be made on this node")
    url = f"file://{tmp_path}/shared"
    told = tmp_path / "not-here" / "models"
    spec = make_spec(cache=tmp_path / "not-here" / "cache", model_dir=told, storage_path=url)
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "node-a"))
    assert len(ray.cloudpickle.dumps(partial(make_run_job, spec))) < 10_000
    events = [*make_run_job(spec)(make_job(role="confirm"))]
    assert sum(len(pickle.dumps(event)) for event in events) < 20_000
    finished = events[-1]
    assert isinstance(finished, Finished)
    name = Path(finished.model_path or "").name
    assert finished.model_path == str(told / name)
    assert SharedStorage(url).names("searches/") == [f"searches/unnamed/models/{name}"]
    assert [path for path in (tmp_path / "node-a").rglob("searches/**/*") if path.is_file()] == []

    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "node-b"))
    run_job = make_run_job(spec)
    (tested,) = run_job(make_job(role="test"))
    assert isinstance(tested, Tested)
    assert len(tested.test.correct) == 597
    assert len(pickle.dumps(tested)) < 20_000
    assert [path for path in (tmp_path / "node-b").rglob("searches/**/*") if path.is_file()] == []
    assert list((tmp_path / "node-b" / "features").glob("*/features.npy")) == []
