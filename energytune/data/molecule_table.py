"""What every source of molecules is read into, and the cache that spares reading it again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from energytune.data.fingerprint import hash_lines, hash_tensors
from energytune.data.molecule_arrays import MoleculeArrays
from energytune.errors import OutputError
from energytune.json_text import parse_json
from energytune.paths import atomic_file, cache_dir

__all__ = ["PARTS", "MoleculeTable", "cached_table", "file_stamp"]

PARTS = ("train", "valid", "test")
_FORMAT = "1"


@dataclass(frozen=True, eq=False)
class MoleculeTable:
    """Molecules, their labels, and which of them are train, valid and test.

    Attributes:
        molecules: N molecules.
        labels: (N, L) float32: 1 for yes, 0 for no, NaN where missing.
        label_names: L names.
        parts: Indices of :data:`PARTS`, each int64.
        split: Where the parts come from, a few words.
        notes: What a person should know, each without a full stop.
    """

    molecules: MoleculeArrays
    labels: Tensor
    label_names: tuple[str, ...]
    parts: dict[str, Tensor]
    split: str
    notes: tuple[str, ...] = ()

    def without_unlabelled(self) -> MoleculeTable:
        """Returns the table without molecules that have no label at all; tells how many."""
        labelled = (self.labels >= 0).any(dim=1)
        n_left_out = int((~labelled).sum())
        if n_left_out == 0:
            return self
        parts = {part: indices[labelled[indices]] for part, indices in self.parts.items()}
        note = f"{n_left_out:,} of {len(labelled):,} molecules have no label and are left out"
        return replace(self, parts=parts, notes=(*self.notes, note))


def file_stamp(path: Path) -> str:
    """Returns text that changes when a file does: path, size and time of the last change."""
    stat = path.stat()
    return f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}"


def cached_table(stamps: list[str], make: Callable[[], MoleculeTable]) -> MoleculeTable:
    """Returns what ``make`` returns, from the user's cache if it is there.

    A cache that is damaged is made again; one that can't be written is done without.

    Args:
        stamps: All that the table depends on.
        make: Reads the source.
    """
    path = cache_dir() / "data" / f"molecules-{hash_lines([_FORMAT, *stamps])[:32]}.safetensors"
    table = _read(path)
    if table is None:
        table = make()
        with contextlib.suppress(OutputError), atomic_file(path, "") as file:
            file.write(save(_tensors(table)))
    return table


def _tensors(table: MoleculeTable) -> dict[str, Tensor]:
    about = {"label_names": table.label_names, "split": table.split, "notes": table.notes}
    text = json.dumps(about).encode()
    tensors = {
        **table.molecules.tensors(),
        "labels": table.labels,
        **{f"part {part}": indices for part, indices in table.parts.items()},
        "about": torch.frombuffer(bytearray(text), dtype=torch.uint8),
    }
    return {**tensors, "sha256": _digest(tensors)}


def _read(path: Path) -> MoleculeTable | None:
    try:
        tensors = load(path.read_bytes())
        digest = tensors.pop("sha256")
        if not torch.equal(digest, _digest(tensors)):
            return None
        about = parse_json(tensors["about"].numpy().tobytes())
        return MoleculeTable(
            molecules=MoleculeArrays.from_tensors(tensors),
            labels=tensors["labels"],
            label_names=tuple(about["label_names"]),
            parts={part: tensors[f"part {part}"] for part in PARTS},
            split=about["split"],
            notes=tuple(about["notes"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return None


def _digest(tensors: dict[str, Tensor]) -> Tensor:
    text = hash_tensors(tensors[name] for name in sorted(tensors))
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
