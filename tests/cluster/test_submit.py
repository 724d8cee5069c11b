"""What is handed to a cluster; a real one takes it in ``test_three_nodes``."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from energytune.cluster import submit as module
from energytune.cluster.submit import SubmittedJob, jobs_address, package_copy, submit
from energytune.config import list_spaces
from energytune.errors import ConfigError, ResourceError


def test_the_copy_holds_the_packages_files_and_nothing_else() -> None:
    with package_copy() as copy:
        files = [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} == {".py", ".yaml", ".css", ".j2", ".typed"}
        assert not [path for path in files if "__pycache__" in path.parts]
        assert sum((copy / path).stat().st_size for path in files) < 5_000_000
        spaces = {path.stem for path in files if path.parts[0] == "search_spaces"}
        assert spaces == set(list_spaces())
        package = importlib.util.find_spec("energytune")
        assert package is not None
        assert package.origin is not None
        original = module.Path(package.origin).parent
        modules = {path.relative_to(original) for path in original.rglob("*.py")}
        assert modules == {path for path in files if path.suffix == ".py"}
    assert not copy.exists()


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("http://head:8265/", {}, "http://head:8265"),
        ("https://head", {"RAY_ADDRESS": "http://other:8265"}, "https://head"),
        (None, {"RAY_ADDRESS": "http://b:1"}, "http://b:1"),
        (None, {"RAY_ADDRESS": "http://b:1", "RAY_API_SERVER_ADDRESS": "http://a:1"}, "http://a:1"),
    ],
)
def test_the_address_is_the_given_one_or_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str | None, known: dict[str, str], expected: str
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    assert jobs_address(given) == expected


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://head:10001", "auto", None])
def test_another_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"--ray-address http://10\.0\.0\.1:8265; got"):
        jobs_address(address)


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with pytest.raises(ResourceError, match=r"No job could be handed to 127\.0\.0\.1:1: .*refused"):
        submit("http://127.0.0.1:1", ["search"], {})


class Client:
    """Answers as Ray's client does, one state after the other."""

    def __init__(self, *states: tuple[str, str] | Exception, code: int | None = None) -> None:
        self.states, self.code = list(states), code

    def get_job_info(self, job_id: str) -> Any:
        state = self.states[0]
        if isinstance(state, Exception):
            self.states.pop(0)
            raise state
        terminal = state[0] in ("SUCCEEDED", "FAILED", "STOPPED")
        status = SimpleNamespace(value=state[0], is_terminal=lambda: terminal)
        return SimpleNamespace(status=status, driver_exit_code=self.code, message="as it is")

    def get_job_logs(self, job_id: str) -> str:
        state = self.states.pop(0)
        assert not isinstance(state, Exception)
        return state[1]


def follow(monkeypatch: pytest.MonkeyPatch, client: Client) -> tuple[int, str]:
    written: list[str] = []
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    code = SubmittedJob("raysubmit_1", "http://head:8265", client).follow(written.append)
    return code, "".join(written)


def test_output_is_written_once_and_the_end_is_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [("PENDING", ""), ("RUNNING", "one\ntw"), OSError("gone"), ("RUNNING", "one\ntwo\n")]
    done = Client(*states, ("SUCCEEDED", "one\ntwo\nthree\n"), code=0)
    assert follow(monkeypatch, done) == (0, "one\ntwo\nthree\n")
    assert follow(monkeypatch, Client(("FAILED", "Error: no\n"), code=2)) == (2, "Error: no\n")
    told = "\nThe job has ended as STOPPED: as it is\n"
    assert follow(monkeypatch, Client(("STOPPED", ""))) == (1, told)


def test_a_cluster_that_stays_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 7))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    client = Client(*[OSError("gone")] * 50)
    with pytest.raises(ResourceError, match=r"no longer answers: gone.*ray job logs --address"):
        follow(monkeypatch, client)


def test_the_commands_to_look_and_to_stop_are_rays() -> None:
    job = SubmittedJob("raysubmit_1", "http://head:8265", None)
    assert job.look_command == "ray job logs --address http://head:8265 --follow raysubmit_1"
    assert job.stop_command == "ray job stop --address http://head:8265 raysubmit_1"
