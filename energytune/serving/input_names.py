"""What the inputs of a served model are called; loads nothing."""

from __future__ import annotations

__all__ = ["INPUT_NAMES"]

INPUT_NAMES = {"image": "image", "pixels": "image", "smiles": "smiles"}
"""Name of the input by the kind of preprocessing; inputs that come ready have no name."""
