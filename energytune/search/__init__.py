"""The composition root: one search from its settings to its result."""
