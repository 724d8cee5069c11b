"""A search's real driver before simulated workers; see ``benchmarks/scale.py``."""
