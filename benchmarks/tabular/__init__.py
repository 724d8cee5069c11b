"""A tabular benchmark of how to prepare a task head: everything is computed, nothing is trained."""
