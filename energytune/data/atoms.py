"""How atoms are numbered: ogb's nine features, under the name ``ogb-1``.

This is the border between what reads molecules and what computes with them; a network for
molecules must know the same numbering.
"""

from __future__ import annotations

__all__ = ["ATOM_CATEGORIES", "ATOM_FEATURES", "ATOM_VOCABULARY", "MAX_ATOMS"]

ATOM_VOCABULARY = "ogb-1"

ATOM_FEATURES = (
    "element",
    "chirality",
    "degree",
    "formal charge",
    "hydrogens",
    "radical electrons",
    "hybridisation",
    "aromatic",
    "in a ring",
)

ATOM_CATEGORIES = (119, 5, 12, 12, 10, 6, 6, 2, 2)
"""How many values each feature takes, from 0."""

MAX_ATOMS = 2000
"""Largest molecule: numbers of atoms stay whole in float16 up to 2,048."""
