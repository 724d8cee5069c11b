"""Records in, tables and figures out: pure functions that read no service and no file."""
