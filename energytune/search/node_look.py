"""What a node of a cluster sees of a search; runs there, before the first trial."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from energytune.data import ensure_dataset, get_dataset
from energytune.errors import EnergyTuneError, MissingDataError
from energytune.paths import cache_dir
from energytune.storage import SharedStorage

__all__ = ["Look", "look_around"]


@dataclass(frozen=True)
class Look:
    """What is looked for on a node.

    Attributes:
        storage_path: Shared storage; None if the nodes share ``folder``.
        folder: The search's folder, by its path on the driver.
        cache: The driver's cache folder.
        token_name: Name of a file that the driver has written to what is shared.
        token: What it holds.
        dataset: Named dataset; None for a user's own.
        data_root: Folder of the datasets; None is the node's default.
        checkpoint: File with the backbone's weights; None if there is none.
    """

    storage_path: str | None
    folder: Path
    cache: Path
    token_name: str
    token: bytes
    dataset: str | None
    data_root: Path | None
    checkpoint: Path | None

    @property
    def shared(self) -> SharedStorage:
        """What the nodes share."""
        return SharedStorage(self.storage_path or str(self.folder))


def look_around(look: Look, node_id: str) -> list[str]:
    """Returns what is wrong on this node, each as a sentence with what to do.

    Args:
        look: What is looked for.
        node_id: Of this node; the answer to the token is written under it.
    """
    found = [_shared(look, node_id), _cache(look), _data(look), _checkpoint(look)]
    return [problem for problem in found if problem]


def _shared(look: Look, node_id: str) -> str:
    what = str(look.shared)
    advice = (
        "Give it the network and the credentials for that"
        if look.storage_path
        else "Mount it there under the same path, or give all nodes a --storage-path"
    )
    try:
        if look.shared.get_bytes(look.token_name) != look.token:
            return f"it does not see what this process writes to {what}. {advice}."
        look.shared.put_bytes(f"{look.token_name}.{node_id}", look.token)
    except EnergyTuneError as error:
        return f"{error}"
    return ""


def _cache(look: Look) -> str:
    cache = look.cache if look.storage_path is None else cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if writable:
        return ""
    return (
        f"its cache folder {cache} can't be written. Set ENERGYTUNE_CACHE to another folder "
        "before `ray start`."
    )


def _data(look: Look) -> str:
    if look.dataset is None:
        return ""
    try:
        ensure_dataset(look.dataset, look.data_root, download=False)
    except MissingDataError as error:
        if get_dataset(look.dataset).download:  # the first trial there fetches it
            return ""
        return str(error)
    except EnergyTuneError as error:
        return str(error)
    return ""


def _checkpoint(look: Look) -> str:
    if look.checkpoint is None or look.checkpoint.is_file():
        return ""
    return (
        f"it has no file {look.checkpoint}. Copy the checkpoint there under the same path, or put "
        "it into a folder that all nodes mount."
    )
