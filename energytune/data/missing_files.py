"""What a dataset needs on disk, what of it is there, and what to say when some is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import MissingDataError

__all__ = ["Wanted", "lacking", "missing_error", "status_of", "want"]

_N_TOLD = 6


@dataclass(frozen=True)
class Wanted:
    """A file or folder that a dataset is read from.

    Attributes:
        path: Where it is looked for.
        there: Whether it was found.
        note: What is known besides, for example ``"12 of 8,189 images are missing"``.
    """

    path: Path
    there: bool
    note: str = ""

    def below(self, folder: Path) -> str:
        """Returns the path as seen from ``folder``, with its note."""
        inside = self.path.is_relative_to(folder)
        name = str(self.path.relative_to(folder) if inside else self.path)
        return f"{name} ({self.note})" if self.note else name


def want(path: Path) -> Wanted:
    """Looks for a file or folder; an empty file or folder does not count."""
    if path.is_dir():
        return Wanted(path, next(path.iterdir(), None) is not None)
    return Wanted(path, path.is_file())


def lacking(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Returns what is not there."""
    return [item for item in wanted if not item.there]


def status_of(folder: Path, wanted: Sequence[Wanted]) -> tuple[bool, str]:
    """Returns whether all is there, and a few words, as ``Family.status`` says."""
    missing = lacking(wanted)
    if not missing:
        return True, f"in {folder}"
    return False, f"not in {folder} (missing: {_told(folder, missing)})"


def missing_error(
    name: str, folder: Path, wanted: Sequence[Wanted], *, fetch: str, why: str = ""
) -> MissingDataError:
    """Builds the error for a dataset that is not, or not wholly, on this machine.

    Args:
        name: The dataset's.
        folder: Where its files belong.
        wanted: What was looked for.
        fetch: How to get it, without a full stop: ``"Fetch URL and unpack it"``.
        why: Why a download failed, as a sentence; empty if none was tried.
    """
    missing = lacking(wanted)
    return MissingDataError(
        f"Dataset {name!r} is not on this machine: {folder} lacks {_told(folder, missing)}."
        f"{' ' + why if why else ''} {fetch} so that {missing[0].path} exists, or name the folder "
        f"that holds {folder.name}/ with --data-root DIR."
    )


def _told(folder: Path, missing: Sequence[Wanted]) -> str:
    names = [item.below(folder) for item in missing[:_N_TOLD]]
    more = f" and {len(missing) - _N_TOLD} more" if len(missing) > _N_TOLD else ""
    return ", ".join(names) + more
