"""Tests that need a server, a browser or a device that is not here: NOT RUN, and said so.

Such a test calls :func:`not_run`. At the end of a session all of them are listed with the command
that installs what is missing. With ``ENERGYTUNE_REQUIRE_ALL=1`` they fail: nothing hides a gap
where everything is to be run. What needs a device calls :func:`no_device`: no command installs
one, so there it is listed as well and fails nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, NoReturn

import pytest

__all__ = ["no_device", "not_run", "pytest_runtest_makereport", "pytest_terminal_summary"]

_MARK = "NOT RUN: "
_NO_DEVICE = "there is no device of this kind: "
_REQUIRE = "ENERGYTUNE_REQUIRE_ALL"


def not_run(missing: str, install: str) -> NoReturn:
    """Ends a test, or the fixture of several, that can't run on this machine.

    Args:
        missing: What is not there, such as ``"Chromium"``.
        install: The command that installs it.
    """
    pytest.skip(f"{_MARK}there is no {missing} on this machine. Install it: {install}")


def no_device(missing: str) -> NoReturn:
    """Ends a test that needs hardware which this machine lacks.

    Args:
        missing: What is not there, such as ``"NVIDIA GPU"``.
    """
    pytest.skip(f"{_MARK}{_NO_DEVICE}{missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns NOT RUN into a failure where everything is required."""
    report = yield
    reason = _reason(report)
    if reason and not reason.startswith(_NO_DEVICE) and os.environ.get(_REQUIRE) == "1":
        report.outcome = "failed"
        report.longrepr = f"{reason} ({_REQUIRE}=1: what is not run fails)"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Lists what was not run, by what is missing."""
    tests: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        if reason := _reason(report):
            tests.setdefault(reason, []).append(report.nodeid)
    if not tests:
        return
    terminalreporter.section("NOT RUN", sep="=", yellow=True)
    for reason, names in sorted(tests.items()):
        terminalreporter.line(f"{len(names)} {'test' if len(names) == 1 else 'tests'}: {reason}")
        for name in names:
            terminalreporter.line(f"  {name}")


def _reason(report: pytest.TestReport) -> str:
    """Returns why a test was not run; empty if it was, or was skipped for something else."""
    told = report.longrepr
    if not report.skipped or not isinstance(told, tuple):
        return ""
    text = str(told[2]).removeprefix("Skipped: ")
    return text.removeprefix(_MARK) if text.startswith(_MARK) else ""
