"""Every error that energytune raises on purpose.

A user error is an :class:`EnergyTuneError`. The command line prints its message without a
traceback and exits with code 2. Each child also inherits from the builtin exception that
fits, so that ``except ValueError`` in a user's own code works as expected.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "CheckpointError",
    "ConfigError",
    "CutError",
    "DataError",
    "EnergyTuneError",
    "MissingDataError",
    "OutputError",
    "ResourceError",
    "TrackingError",
    "TrialFailure",
    "UnknownNameError",
    "near_names",
    "unknown_name",
]


_MAX_LETTERS = 8_000
_LETTERS_OF_END = 800


class EnergyTuneError(Exception):
    """Base of all errors that carry a message for the user: name, rule, value, what to do next.

    The middle of a message of more than 8,000 letters is left out: a value that breaks a rule may
    be a whole file.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shortened(arg) if isinstance(arg, str) else arg for arg in args))


def _shortened(text: str) -> str:
    n_left_out = len(text) - _MAX_LETTERS
    if n_left_out <= 0:
        return text
    head, tail = text[: _MAX_LETTERS - _LETTERS_OF_END], text[-_LETTERS_OF_END:]
    return f"{head} [... {n_left_out:,} letters left out ...] {tail}"


class ConfigError(EnergyTuneError, ValueError):
    """A setting, a search space or a command-line value breaks a rule."""


class UnknownNameError(EnergyTuneError, LookupError):
    """A data set, backbone, space, sampler or head of that name does not exist."""


class DataError(EnergyTuneError, ValueError):
    """The data break a rule: one class only, an empty split, labels out of range, non-finite."""


class MissingDataError(EnergyTuneError, FileNotFoundError):
    """Data or weights are not on this machine and could not be downloaded."""


class CheckpointError(EnergyTuneError, ValueError):
    """A checkpoint does not fit its backbone, is damaged, or would have to be unpickled."""


class CutError(EnergyTuneError, ValueError):
    """A backbone can't be cut at the wanted ``reinit_depth``."""


class OutputError(EnergyTuneError, OSError):
    """The output folder can't be written, is full, or belongs to another search."""


class ResourceError(EnergyTuneError, RuntimeError):
    """A device or a cluster that was asked for is not there."""


class BudgetError(EnergyTuneError, RuntimeError):
    """A time or trial budget does not suffice for a single finished trial."""


class TrackingError(EnergyTuneError, ConnectionError):
    """The tracking server can't be reached. A search never stops for it; ``sync`` raises it."""


class TrialFailure(EnergyTuneError, ArithmeticError):  # noqa: N818 - a state, not a user error
    """A trial can't go on (non-finite loss or logits): it becomes FAILED with this reason."""


def near_names(name: str, known: Iterable[str], n_names: int = 3) -> list[str]:
    """Returns up to ``n_names`` of ``known`` that are spelled like ``name``, nearest first."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    hits = difflib.get_close_matches(name.casefold(), by_fold, n=n_names, cutoff=0.5)
    return [by_fold[hit] for hit in hits]


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """Builds the error for a name that is not in a registry, with near names.

    Args:
        kind: What was looked up, for example ``"dataset"``.
        name: The name that was not found.
        known: All names that exist.
        hint: A sentence on what to do next.

    Returns:
        An error to raise.
    """
    names = sorted(known)
    near = near_names(name, names)
    if near:
        told = "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif len(names) <= 12:
        told = f"Known: {', '.join(names)}."
    else:
        told = f"{len(names)} are known."
    return UnknownNameError(f"Unknown {kind} {name!r}. {told}{' ' + hint if hint else ''}")
