"""The embedded tasks on molecules: two kinds of labels of molecules that this package makes up.

``molecules``
    The backbone is pretrained on descriptors above their median; downstream are twelve labels
    like toxicities, which ask for reactive groups and for where they sit, with 3 % of the labels
    turned over and 20 % missing, as in measured data.
``descriptors``
    The other way round: what ``molecules`` pretrains on is downstream. Mostly there so that
    ``energytune pretrain --dataset descriptors`` has something to learn from.

No molecule and no scaffold of one is in the other. All is fixed: it depends on seeds of its own,
not on the search's. RDKit makes it once; then it lies in the user's cache, so that workers need
not import RDKit.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.enumerated_smiles import CORES, ENDS, LINKERS, enumerate_molecules
from energytune.data.fingerprint import hash_tensors
from energytune.data.molecule_arrays import MoleculeArrays
from energytune.data.molecule_labels import (
    ALERTS,
    DESCRIPTORS,
    TOXICOPHORES,
    above_median,
    descriptor_values,
    found_alerts,
    spoil,
    toxicophore_labels,
)
from energytune.data.molecule_splits import molecule_splits
from energytune.data.molecule_table import PARTS, MoleculeTable, cached_table
from energytune.data.pretraining import PretrainConfig, PretrainSet
from energytune.data.smiles import (
    has_rdkit,
    molecule_graph,
    murcko_scaffold,
    quiet_rdkit,
    rdkit_version,
    require_rdkit,
)
from energytune.data.splits import Splits
from energytune.progress import Progress
from energytune.tasks import MultiLabel

__all__ = ["N_MOLECULES", "SEED", "ensure", "load", "pretraining_set", "status"]

N_MOLECULES = 5400
"""Molecules of both tasks together."""

SEED = 0
_VERSION = "1"
_NOISE, _MISSING = 0.03, 0.2
_SIZES = {
    "molecules": {"train": 400, "valid": 400, "test": 800},
    "descriptors": {"train": 2800, "valid": 300, "test": 300},
}
_OTHER = {"molecules": "descriptors", "descriptors": "molecules"}
_PRETRAINING = PretrainConfig(epochs=40, lr=0.3, weight_decay=1e-4, batch_size=64)


def status(entry: DatasetEntry, root: Path) -> tuple[bool, str]:
    """Looks whether RDKit is installed, as ``Family`` says."""
    if has_rdkit():
        return True, "made by energytune with RDKit"
    return False, 'made with RDKit, which is not installed: pip install "energytune[mol]"'


def ensure(entry: DatasetEntry, root: Path, *, download: bool, progress: Progress) -> None:
    """Checks that RDKit is installed.

    Raises:
        MissingDataError: It is not.
    """
    require_rdkit(f"Dataset {entry.name!r}")


def load(entry: DatasetEntry, request: LoadRequest) -> Splits:
    """Loads the dataset of that entry; it has inputs of its own.

    Raises:
        MissingDataError: RDKit is not installed.
    """
    with request.progress.stage("molecules, made once by RDKit", None):
        table = _table(entry.name)
    return molecule_splits(table, name=entry.name, progress=request.progress)


def pretraining_set(entry: DatasetEntry) -> PretrainSet:
    """Returns all molecules of the other task, with its labels.

    Raises:
        MissingDataError: RDKit is not installed.
    """
    table = _table(_OTHER[entry.name])
    images, targets = table.molecules.dense(table.molecules.shape), table.labels
    return PretrainSet(
        images=images,
        targets=targets,
        task=MultiLabel(targets.shape[1]),
        config=_PRETRAINING,
        fingerprint=hash_tensors((images, targets)),
    )


def _table(name: str) -> MoleculeTable:
    require_rdkit(f"Dataset {name!r}")
    lists = (CORES, LINKERS, ENDS, ALERTS, TOXICOPHORES, DESCRIPTORS)
    settings = (_VERSION, N_MOLECULES, SEED, _NOISE, _MISSING, _SIZES)
    stamps = ["embedded", name, repr(lists), repr(settings), rdkit_version()]
    return cached_table(stamps, lambda: _both_tables()[name])


@cache  # both are wanted in turn, and the molecules cost more than their labels
def _both_tables() -> dict[str, MoleculeTable]:
    with quiet_rdkit():
        found = enumerate_molecules(N_MOLECULES, SEED)
        smiles, molecules = list(found), list(found.values())
        is_downstream = np.array([_is_downstream(murcko_scaffold(m)) for m in molecules])
        graphs = MoleculeArrays.from_graphs([molecule_graph(m) for m in molecules])
        pools = {
            "molecules": np.flatnonzero(is_downstream),
            "descriptors": np.flatnonzero(~is_downstream),
        }
        downstream = [molecules[i] for i in pools["molecules"]]
        keys = [smiles[i] for i in pools["molecules"]]
        clean = toxicophore_labels(found_alerts(downstream), descriptor_values(downstream))
        values = descriptor_values([molecules[i] for i in pools["descriptors"]])
    labels = {
        "molecules": spoil(clean, keys, noise=_NOISE, missing=_MISSING, seed=SEED),
        "descriptors": above_median(values),
    }
    names = {"molecules": tuple(TOXICOPHORES), "descriptors": DESCRIPTORS}
    return {
        name: MoleculeTable(
            molecules=graphs.select(pool),
            labels=torch.from_numpy(labels[name]),
            label_names=names[name],
            parts=_parts(_SIZES[name]),
            split="fixed split",
        )
        for name, pool in pools.items()
    }


def _is_downstream(scaffold: str) -> bool:
    """Sends a third of the scaffolds downstream, each with all of its molecules."""
    digest = hashlib.sha256(f"{SEED}\0scaffold\0{scaffold}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 3 == 0


def _parts(sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Cuts the molecules in their order, which is that of a hash already."""
    ends = np.cumsum([sizes[part] for part in PARTS]).tolist()
    starts = [0, *ends[:-1]]
    return {
        part: torch.arange(start, end) for part, start, end in zip(PARTS, starts, ends, strict=True)
    }
