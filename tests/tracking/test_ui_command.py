"""``energytune ui`` as a user starts it: its port, its links, its processes, and its end."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.processes import is_gone, listening, wait_until
from tests.tracking.three_searches import MODEL, ThreeSearches
from tests.tracking.ui_process import UiProcess

pytestmark = pytest.mark.integration


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all end; a zombie is no process that runs."""
    _, alive = psutil.wait_procs(processes, timeout=240)
    return all(is_gone(process) for process in alive)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=120).close()
    except OSError:
        return False
    return True


def browser_that_notes(folder: Path) -> dict[str, str]:
    """A "browser" that only notes the address it was to open, in ``opened``."""
    program = folder / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened\n')
    program.chmod(0o755)
    return {"BROWSER": f"{program} %s"}


def opened_in(folder: Path) -> str:
    """What that browser was to open, as soon as it has noted it."""
    note = folder / "opened"
    wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    return note.read_text().strip()


def test_it_takes_a_free_port_tells_links_opens_the_latest_search_and_stops(
    three_searches: ThreeSearches, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        home, browser = str(three_searches.home), browser_that_notes(tmp_path)
        with UiProcess(home, "--port", taken, environment=browser) as ui:
            url = ui.read_until("MLflow: ").split()[0]
            ui.read_until("  versions ")
            assert url != f"http://127.0.0.1:{taken}"
            assert any(f"Port {taken}" in line and "free one" in line for line in ui.told)
            for search in three_searches.searches:
                at = ui.told.index(f"search {search.folder.name} digits-mlp")
                links = dict(line.split() for line in ui.told[at + 1 : at + 4])
                assert list(links) == ["charts", "table", "compare"]
                # the link that the search printed at its end, but for the port
                assert links["charts"].partition("#")[2] == search.link.partition("#")[2]
                assert links["charts"].startswith(f"{url}/#/")
            assert f"model {MODEL}" in ui.told
            study = three_searches.searches[0].folder / "study.journal"
            assert f"Optuna's own pages: optuna-dashboard {study}" in ui.told

            opened = opened_in(tmp_path)
            wait_until(lambda: len(ui.children()) <= 2)  # without that browser
            children = ui.children()
            assert len(children) >= 1
            assert listening([psutil.Process(ui.process.pid), *children]) == {"127.0.0.1"}

            ui.process.send_signal(signal.SIGINT)
            assert "Stopping MLflow." in ui.rest()
            assert ui.process.returncode == 0
            assert gone(children)
            assert not answers(url)
    newest = max(three_searches.searches, key=lambda search: search.records[0].started_ms)
    assert opened.partition("#")[2] == newest.link.partition("#")[2]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_its_server_ends_too(
    three_searches: ThreeSearches, end: signal.Signals
) -> None:
    with UiProcess(str(three_searches.searches[0].folder), "--no-browser") as ui:
        url = ui.read_until("MLflow: ").split()[0]
        children = ui.children()
        assert answers(url)
        ui.process.send_signal(end)
        ui.process.wait(240)
        assert gone(children)
        assert not answers(url)


def test_a_server_that_runs_is_linked_to_and_left_alone(
    three_searches: ThreeSearches, tmp_path: Path
) -> None:
    from energytune.tracking import start_ui

    with start_ui(three_searches.uri) as server:
        server.wait_until_ready()
        folder, browser = str(tmp_path), browser_that_notes(tmp_path)
        with UiProcess(folder, "--tracking-uri", server.url, environment=browser) as ui:
            told = ui.rest()
            assert ui.process.returncode == 0
        assert told.count("  charts ") == 3
        assert (tmp_path / "opened").read_text().startswith(f"{server.url}/#/experiments/")
        assert answers(server.url)


def test_two_that_start_at_once_do_not_take_the_same_port(three_searches: ThreeSearches) -> None:
    arguments = (str(three_searches.home), "--no-browser")
    with UiProcess(*arguments) as one, UiProcess(*arguments) as other:
        urls = [ui.read_until("MLflow: ").split()[0] for ui in (one, other)]
        assert urls[0] != urls[1]
        assert all(answers(url) for url in urls)
