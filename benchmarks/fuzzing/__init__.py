"""Damaged and hostile inputs for every reader of the package; ``benchmarks/fuzz.py`` runs them."""
