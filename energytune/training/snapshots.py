"""Snapshots of probing trajectories, addressed by content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from energytune.json_text import parse_json
from energytune.paths import CACHE_ADVICE, atomic_file
from energytune.training.records import ProbeSnapshot
from energytune.training.sharing import NOT_SHARED, Sharing

__all__ = ["SnapshotStore"]

_FOLDER = "trajectories"


class SnapshotStore:
    """Head states at epochs of trajectories, under ``root/<trajectory>/e<epoch>.safetensors``.

    Args:
        root: Folder; made when needed.
        sharing: Through which nodes hand snapshots to one another.
    """

    def __init__(self, root: Path, sharing: Sharing = NOT_SHARED) -> None:
        self._root, self._sharing = root, sharing

    def _path(self, trajectory: str, epoch: int) -> Path:
        return self._root / trajectory / _file_name(epoch)

    def load_record(self, trajectory: str, epoch: int) -> ProbeSnapshot | None:
        """Returns what was measured at ``epoch``, or None if there is no readable snapshot."""
        found = self._read_record(trajectory, epoch)
        if found is None and trajectory:
            path = self._path(trajectory, epoch)
            if self._sharing.fetch(_shared_name(trajectory, epoch), path):
                found = self._read_record(trajectory, epoch)
        return found

    def _read_record(self, trajectory: str, epoch: int) -> ProbeSnapshot | None:
        try:
            with safe_open(self._path(trajectory, epoch), framework="pt") as file:
                return ProbeSnapshot(**parse_json(file.metadata()["snapshot"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def load_state(self, trajectory: str, epoch: int) -> dict[str, Tensor] | None:
        """Returns the tensors saved at ``epoch``, or None if there is no readable snapshot."""
        try:
            with safe_open(self._path(trajectory, epoch), framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None

    def save(self, trajectory: str, record: ProbeSnapshot, state: Mapping[str, Tensor]) -> None:
        """Writes a snapshot atomically; one that is there already is left as it is.

        Raises:
            OutputError: If the disk is full or the folder can't be written.
        """
        path = self._path(trajectory, record.epoch)
        if path.exists() and self.load_record(trajectory, record.epoch) is not None:
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        with atomic_file(path, CACHE_ADVICE) as file:
            file.write(save(tensors, {"snapshot": json.dumps(asdict(record))}))
        self._sharing.put(_shared_name(trajectory, record.epoch), path)


def _file_name(epoch: int) -> str:
    return f"e{epoch:07d}.safetensors"


def _shared_name(trajectory: str, epoch: int) -> str:
    return f"{_FOLDER}/{trajectory}/{_file_name(epoch)}"
