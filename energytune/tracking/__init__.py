"""MLflow: the journal, its sender, the default store, the registry and the UI's launcher.

The only room that knows MLflow. Importing it loads nothing heavy: the names below are loaded
when they are first used. MLflow's telemetry is switched off here, because it has to be off
before the first ``import mlflow`` of a process: without a network its thread can break a call.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

if TYPE_CHECKING:
    from energytune.tracking.champion import RegisteredModel
    from energytune.tracking.comparison import Comparison
    from energytune.tracking.journal import TrackingJournal
    from energytune.tracking.links import deep_link
    from energytune.tracking.load import find_uri, load_champion
    from energytune.tracking.map_run import log_energy_map
    from energytune.tracking.observer import TrackingObserver
    from energytune.tracking.parent import find_parent_run
    from energytune.tracking.patience import Patience
    from energytune.tracking.pretrain_log import PretrainLog
    from energytune.tracking.registry import note_winner, register_winner
    from energytune.tracking.resend import SyncResult, sync
    from energytune.tracking.sender import Sender
    from energytune.tracking.server import UiServer, serve_ui, start_ui
    from energytune.tracking.store import artifact_root, default_uri, journal_path

_HOMES = {
    "Comparison": "comparison",
    "Patience": "patience",
    "PretrainLog": "pretrain_log",
    "RegisteredModel": "champion",
    "Sender": "sender",
    "SyncResult": "resend",
    "TrackingJournal": "journal",
    "TrackingObserver": "observer",
    "UiServer": "server",
    "artifact_root": "store",
    "deep_link": "links",
    "find_parent_run": "parent",
    "find_uri": "load",
    "load_champion": "load",
    "default_uri": "store",
    "journal_path": "store",
    "log_energy_map": "map_run",
    "note_winner": "registry",
    "register_winner": "registry",
    "serve_ui": "server",
    "start_ui": "server",
    "sync": "resend",
}

__all__ = [
    "Comparison",
    "Patience",
    "PretrainLog",
    "RegisteredModel",
    "Sender",
    "SyncResult",
    "TrackingJournal",
    "TrackingObserver",
    "UiServer",
    "artifact_root",
    "deep_link",
    "find_parent_run",
    "find_uri",
    "load_champion",
    "default_uri",
    "journal_path",
    "log_energy_map",
    "note_winner",
    "register_winner",
    "serve_ui",
    "start_ui",
    "sync",
]


def __getattr__(name: str) -> Any:
    """Loads the module that holds ``name`` when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
