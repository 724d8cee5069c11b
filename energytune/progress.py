"""How long work tells that it goes on, without knowing who watches."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["NO_PROGRESS", "Advance", "NoProgress", "Progress"]

Advance = Callable[[int], None]
"""Is told the number of units (epochs, images, bytes) done since the last call."""


class Progress(Protocol):
    """Watches the stages of long work, for example pretraining or a download."""

    def note(self, text: str) -> None:
        """Tells something that a person should know and that is no error, once.

        Args:
            text: One line, without a full stop at its end.
        """
        ...

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """Opens a stage; leaving the context ends it, however it is left.

        Args:
            name: What is done, for a person: ``"pretraining digits-mlp"``.
            total: Units of work in the stage; None if not known beforehand.

        Returns:
            A context manager that gives a function to call with the units done.
        """
        ...


class NoProgress:
    """A progress that nobody watches."""

    def note(self, text: str) -> None:
        """Tells nobody."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Generator[Advance, None, None]:
        """Opens a stage that tells nobody."""
        yield lambda n_units: None


NO_PROGRESS: Progress = NoProgress()
"""The silent default."""
