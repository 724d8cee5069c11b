"""optuna-dashboard opens a search's study by the command that ``energytune ui`` prints."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browsers import Browser
from tests.not_run import not_run
from tests.pages import errors_told, text_of, wait_for
from tests.screenshots import keep_screenshot
from tests.tracking.three_searches import N_TRIALS, run_study

pytestmark = pytest.mark.integration

HISTORY = "document.querySelectorAll('#plot-history .points path')"


@contextmanager
def dashboard(storage: str, home: Path) -> Iterator[str]:
    """Runs it on a storage; yields its address."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.exists():
        not_run("optuna-dashboard", "pip install optuna-dashboard")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, log = f"http://127.0.0.1:{port}", home / "dashboard.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [program, storage, "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(home)},  # its server puts a socket there
        ) as process,
    ):
        try:
            while not answers(address):
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def answers(address: str) -> bool:
    try:
        fetch(f"{address}/api/studies")
    except OSError:
        return False
    return True


def fetch(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=240) as answer:
        return json.load(answer)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_it_shows_the_search(tmp_path: Path, browser: Browser, kind: str) -> None:
    path = tmp_path / ("study.journal" if kind == "journal" else "study.db")
    url = f"{kind}://{path}" if kind == "journal" else f"sqlite:///{path}"
    n_trials = N_TRIALS if kind == "journal" else 14  # a database takes its time
    source = run_study(url, "digits-20260302-1140", 1, n_trials=n_trials)
    best = max(source.records, key=lambda record: record.objective or 0.0)
    with dashboard(str(path) if kind == "journal" else url, tmp_path) as address:
        browser.open(address, width=1400)
        wait_for(browser, "document.body.innerText.includes('digits-20260302-1140')")
        assert errors_told(browser) == []

        browser.open(f"{address}/dashboard/studies/{study_id(address)}", width=1400)
        wait_for(browser, f"{HISTORY}.length >= {n_trials - 1}")
        assert "History" in text_of(browser)
        wait_for(browser, "document.body.innerText.includes('Hyperparameter Importance')")
        assert errors_told(browser) == []
        if kind == "journal":
            keep_screenshot(browser, "optuna-dashboard")

        trials = f"{address}/dashboard/studies/{study_id(address)}/trials"
        browser.open(f"{trials}?numbers={best.job.number}", width=1400)
        wait_for(browser, "document.body.innerText.includes('Best Trial')")
        text = text_of(browser)
        assert f"{n_trials} Trials" in text
        for state in ("Complete", "Pruned", "Fail"):
            assert state in text
        assert f"{best.objective:.6f}"[:6] in text
        assert "\ntau_plus_1 " in text
        assert f'"tau": {best.job.recipe.tau},' in text
        for attribute in ("recipe", "hp", "finished"):
            assert f"\n{attribute} {{" in text
        assert errors_told(browser) == []


def test_a_search_that_was_interrupted_shows_what_waits(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "study.journal"
    source = run_study(f"journal://{path}", "stopped", 2, interrupted=True)
    n_open = N_TRIALS + 3 - len(source.records)
    with dashboard(str(path), tmp_path) as address:
        study = fetch(f"{address}/api/studies/{study_id(address)}?after=0")
        running = [t for t in study["trials"] if t["state"] == "Running"]
        assert len(running) == n_open
        paused = [t for t in running if any(a["key"] == "paused" for a in t["user_attrs"])]
        assert len(paused) > 3
        browser.open(
            f"{address}/dashboard/studies/{study_id(address)}/trials?numbers={paused[0]['number']}",
            width=1400,
        )
        wait_for(browser, "document.body.innerText.includes('Running')")
        assert "\npaused " in text_of(browser)
        assert errors_told(browser) == []


def study_id(address: str) -> int:
    """Returns the id of the only study."""
    (only,) = fetch(f"{address}/api/studies")["study_summaries"]
    return int(only["study_id"])
