"""What nodes are asked; ``tests/cluster/test_three_nodes.py`` asks real ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.cloudpickle

from energytune.cluster import Node
from energytune.config import FinetuneConfig, ProbeConfig
from energytune.errors import ResourceError
from energytune.progress import NO_PROGRESS
from energytune.search import nodes as module
from energytune.search.node_look import Look, look_around
from energytune.search.nodes import check_nodes
from energytune.storage import SharedStorage
from energytune.trial.bench import BenchSpec

NODES = [Node(f"id{i}", f"10.0.0.{i}", {"CPU": 8.0}, False) for i in (2, 3)]


def look(tmp_path: Path, **changes: Any) -> Look:
    """A look in which nothing is wrong."""
    fields = {
        "storage_path": str(tmp_path / "shared"),
        "folder": tmp_path / "out",
        "cache": tmp_path / "cache",
        "token_name": ".nodes-1",
        "token": b"token",
        "dataset": "digits",
        "data_root": None,
        "checkpoint": None,
    }
    made = Look(**{**fields, **changes})
    made.shared.put_bytes(made.token_name, b"token")
    return made


@pytest.mark.parametrize("storage", [True, False])
def test_a_node_with_everything_answers_and_has_no_problem(tmp_path: Path, storage: bool) -> None:
    asked = look(tmp_path) if storage else look(tmp_path, storage_path=None)
    assert look_around(asked, "id2") == []
    shared = SharedStorage(str(tmp_path / ("shared" if storage else "out")))
    assert shared.names(".nodes") == [".nodes-1", ".nodes-1.id2"]
    assert shared.get_bytes(".nodes-1.id2") == b"token"


def test_each_thing_that_lacks_is_a_sentence_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "file" / "cache"))
    asked = look(tmp_path, dataset=f"folder:{tmp_path}/pets", checkpoint=tmp_path / "weights.pth")
    SharedStorage(str(tmp_path / "shared")).put_bytes(".nodes-1", b"of another search")
    shared, cache, data, checkpoint = look_around(asked, "id2")
    assert shared.startswith(f"it does not see what this process writes to {tmp_path}/shared. Give")
    assert cache.startswith(f"its cache folder {tmp_path}/file/cache can't be written. Set ENERGY")
    assert "pets" in data
    assert checkpoint.startswith(f"it has no file {tmp_path}/weights.pth. Copy the checkpoint")


def test_a_folder_that_is_not_mounted_is_told_with_both_ways_out(tmp_path: Path) -> None:
    asked = look(tmp_path, storage_path=None)
    asked.shared.delete(asked.token_name)
    (problem,) = look_around(asked, "id2")
    assert problem.endswith(
        "Mount it there under the same path, or give all nodes a --storage-path."
    )
    (tmp_path / "file").write_text("")
    broken = Look(**{**vars(asked), "storage_path": str(tmp_path / "file" / "x")})
    (problem,) = look_around(broken, "id2")
    assert "can't be" in problem


def test_data_that_can_be_downloaded_are_no_problem(tmp_path: Path) -> None:
    assert look_around(look(tmp_path, dataset="stl10", data_root=tmp_path), "id2") == []
    missing = look(tmp_path, dataset="cars", data_root=tmp_path)
    assert len(look_around(missing, "id2")) == 1


@pytest.fixture
def spec(tmp_path: Path) -> BenchSpec:
    return BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        probe=ProbeConfig(),
        finetune=FinetuneConfig(),
        cache=tmp_path / "cache",
        model_dir=tmp_path / "out" / "models",
    )


def cluster_of(nodes: list[Node]) -> Any:
    return SimpleNamespace(other_nodes=lambda: nodes)


def answers(monkeypatch: pytest.MonkeyPatch, *given: Any) -> list[Any]:
    """Lets nodes answer what is given; a callable is called with the question."""
    asked: list[Any] = []

    def ask(nodes: list[Node], question: Any, timeout_s: float) -> list[tuple[Any, str]]:
        asked.append(question)
        return [one(question) if callable(one) else one for one in given]

    monkeypatch.setattr(module, "ask_nodes", ask)
    return asked


def honest(node_id: str) -> Any:
    """A node that really looks, as ``node_id``."""

    def answer(question: Any) -> tuple[Any, str]:
        return question(node_id), ""

    return answer


def test_nobody_is_asked_where_there_is_no_other_node(
    monkeypatch: pytest.MonkeyPatch, spec: BenchSpec, tmp_path: Path
) -> None:
    asked = answers(monkeypatch)
    check_nodes(cluster_of([]), spec, NO_PROGRESS)
    assert asked == []
    assert not (tmp_path / "out").exists()


def test_all_is_well_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, spec: BenchSpec, tmp_path: Path
) -> None:
    asked = answers(monkeypatch, honest("id2"), honest("id3"))
    check_nodes(cluster_of(NODES), spec, NO_PROGRESS)
    assert list((tmp_path / "out").iterdir()) == []
    assert len(ray.cloudpickle.dumps(asked[0])) < 10_000


def test_one_error_names_every_node_that_can_not_take_part(
    monkeypatch: pytest.MonkeyPatch, spec: BenchSpec, tmp_path: Path
) -> None:
    here = module._versions()
    old = {"versions": {**here, "energytune": "0.0.1", "torch": "none"}, "problems": []}
    answers(monkeypatch, (old, ""), (None, "no answer within 120 seconds"))
    with pytest.raises(ResourceError) as caught:
        check_nodes(cluster_of(NODES), spec, NO_PROGRESS)
    assert str(caught.value).splitlines() == [
        "2 of 2 other nodes of the cluster can't take part in this search:",
        f"  node 10.0.0.2: it has energytune 0.0.1 instead of {here['energytune']}, torch none "
        f"instead of {here['torch']}. Install the same versions there, or use --submit.",
        "  node 10.0.0.3: no answer within 120 seconds",
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_an_answer_that_does_not_arrive_is_told(
    monkeypatch: pytest.MonkeyPatch, spec: BenchSpec
) -> None:
    fine = {"versions": module._versions(), "problems": []}
    answers(monkeypatch, (fine, ""), honest("id3"))
    with pytest.raises(ResourceError, match=r"1 of 2 other nodes") as caught:
        check_nodes(cluster_of(NODES), spec, NO_PROGRESS)
    assert "node 10.0.0.2: what it writes to" in str(caught.value)
    assert "10.0.0.3" not in str(caught.value)
