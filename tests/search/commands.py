"""Reads commands as the command line does, without running them."""

from __future__ import annotations

import shlex

import pytest
from typer.testing import CliRunner

from energytune.config import SearchConfig

__all__ = ["parsed"]


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> SearchConfig:
    """Returns the settings that the command line reads from a command."""
    from energytune.cli import search as module
    from energytune.cli.main import app

    found: list[SearchConfig] = []
    monkeypatch.setattr(
        module, "run_and_tell", lambda _name, _options, config, **_rest: found.append(config)
    )
    words = shlex.split(command)
    assert words[0] == "energytune"
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    return found[0]
