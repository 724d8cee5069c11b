from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import energytune.tracking


def test_importing_the_room_loads_no_mlflow_and_switches_telemetry_off() -> None:
    code = (
        "import os, sys, energytune.tracking as t\n"
        "t.TrackingJournal, t.TrackingObserver, t.Sender, t.sync, t.deep_link, t.start_ui\n"
        "t.register_winner\n"
        "assert callable(t.sync), t.sync\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'\n"
        "print([m for m in ('mlflow', 'ray', 'optuna', 'timm') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in energytune.tracking.__all__:
        assert getattr(energytune.tracking, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = energytune.tracking.nothing_such


def test_every_name_is_what_it_says_whatever_was_imported_before() -> None:
    """A module of the same name would hide a function once somebody has imported it."""
    from energytune import tracking

    modules = {path.stem for path in Path(tracking.__path__[0]).glob("*.py")}
    for module in modules - {"__init__"}:
        importlib.import_module(f"energytune.tracking.{module}")
    for name in tracking.__all__:
        assert callable(getattr(tracking, name)), name
        assert name not in modules
