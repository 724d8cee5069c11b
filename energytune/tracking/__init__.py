"""MLflow: the journal, its sender, the default store, the registry and the UI's launcher.

The only room that knows MLflow. Importing it loads nothing heavy: the names below are loaded
when they are first used. MLflow's telemetry is switched off here, because it has to be off
before the first ``import mlflow`` of a process: without a network its thread can break a call.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from energytune.on_demand import on_demand

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

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "champion": ("RegisteredModel",),
        "comparison": ("Comparison",),
        "journal": ("TrackingJournal",),
        "links": ("deep_link",),
        "load": ("find_uri", "load_champion"),
        "map_run": ("log_energy_map",),
        "observer": ("TrackingObserver",),
        "parent": ("find_parent_run",),
        "patience": ("Patience",),
        "pretrain_log": ("PretrainLog",),
        "registry": ("note_winner", "register_winner"),
        "resend": ("SyncResult", "sync"),
        "sender": ("Sender",),
        "server": ("UiServer", "serve_ui", "start_ui"),
        "store": ("artifact_root", "default_uri", "journal_path"),
    },
)
