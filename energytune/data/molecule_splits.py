"""Molecules, their labels and parts become splits that every stage takes."""

from __future__ import annotations

from energytune.data.atoms import ATOM_VOCABULARY
from energytune.data.fingerprint import (
    hash_lines,
    hash_tensors,
    protocol_text,
    splits_fingerprint,
)
from energytune.data.molecule_split import MoleculeSplit
from energytune.data.molecule_table import PARTS, MoleculeTable
from energytune.data.preprocessing import describe_smiles
from energytune.data.splits import HeldOut, Splits
from energytune.data.validation_labels import check_labels
from energytune.progress import NO_PROGRESS, Progress
from energytune.tasks import MultiLabel

__all__ = ["molecule_splits"]


def molecule_splits(table: MoleculeTable, *, name: str, progress: Progress = NO_PROGRESS) -> Splits:
    """Returns the splits of a table; what a person should know is noted.

    Args:
        table: Molecules, labels and parts.
        name: The dataset's name.
        progress: Told what was left out and what can't be scored.

    Raises:
        DataError: The labels break a rule.
    """
    for note in table.notes:
        progress.note(note)
    targets = {part: table.labels[table.parts[part]] for part in PARTS}
    for note in check_labels(targets, table.label_names, name=name, split=table.split):
        progress.note(note)
    selected = {part: table.molecules.select(table.parts[part].numpy()) for part in PARTS}
    shape = table.molecules.shape
    splits = {part: MoleculeSplit(selected[part], targets[part], shape) for part in PARTS}
    hashes = {
        part: hash_lines([selected[part].sha256(), hash_tensors((targets[part],))])
        for part in PARTS
    }
    protocol = protocol_text(
        name,
        hashes,
        len(splits["valid"]),
        len(splits["test"]),
        metric="ROC-AUC",
        units="molecules",
        note=table.split,
    )
    return Splits(
        name=name,
        train=splits["train"],
        valid=splits["valid"],
        test=HeldOut(splits["test"]),
        task=MultiLabel(len(table.label_names)),
        class_names=table.label_names,
        # features at a cut have the padded shape
        fingerprint=splits_fingerprint(hashes, ATOM_VOCABULARY, f"{shape}"),
        protocol=protocol,
        hashes=hashes,
        preprocessing=describe_smiles(shape.n_slots, shape.n_neighbours, ATOM_VOCABULARY),
    )
