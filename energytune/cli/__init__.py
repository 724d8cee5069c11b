"""The command line: parse, call, print. The commands are in ``main.py``."""
