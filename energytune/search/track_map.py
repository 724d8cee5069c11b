"""Logs an energy map to MLflow, with its figure and its numbers as artifacts."""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from energytune.report.style import save_figure
from energytune.search.energy_map import EnergyMap
from energytune.tracking import default_uri, log_energy_map

__all__ = ["track_map"]


def track_map(energy_map: EnergyMap, home: Path, uri: str | None = None) -> EnergyMap:
    """Returns the map with the address of its MLflow page, after logging it there.

    Args:
        energy_map: What was probed.
        home: Folder of the default store.
        uri: Tracking server; None is SQLite in ``home``, which searches share.

    Raises:
        TrackingError: MLflow can't be reached.
    """
    home = home.absolute()
    grid = energy_map.grid
    params = {
        "dataset": energy_map.dataset,
        "backbone": energy_map.backbone,
        "n_heads": len(energy_map.curves),
        "tau_max": grid.tau_max,
        "batch_size": grid.probe.batch_size,
        "momentum": grid.probe.momentum,
        "schedule": grid.probe.schedule,
        "n_views": grid.probe.n_views,
        "n_train": energy_map.n_train,
        "metric": energy_map.metric,
        **energy_map.provenance,
    }
    with tempfile.TemporaryDirectory() as scratch:
        numbers, figure = Path(scratch) / "energy_map.json", Path(scratch) / "energy_map.svg"
        numbers.write_text(energy_map.to_json())
        save_figure(energy_map.plot(), figure)
        link = log_energy_map(
            uri or default_uri(home),
            home,
            energy_map.dataset,
            uuid.uuid4().hex[:12],
            name=f"energy map {energy_map.backbone}",
            params=params,
            curves=energy_map.curves,
            seconds=energy_map.seconds.get("probe", 0.0),
            files=[numbers, figure],
        )
    return replace(energy_map, link=link)
