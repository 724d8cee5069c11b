from __future__ import annotations

import subprocess
import sys

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
