"""What can be made again and is shared to save work: where sharing fails, nothing else does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import OutputError
from energytune.storage import SharedStorage

__all__ = ["NOT_SHARED", "Sharing"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sharing:
    """Hands files to other nodes, and takes theirs.

    Attributes:
        storage: Through which; None shares nothing.
    """

    storage: SharedStorage | None = None

    def fetch(self, name: str, path: Path) -> bool:
        """Copies a shared file to ``path``; returns False if there is none, or it can't be read."""
        if self.storage is None:
            return False
        try:
            return self.storage.fetch(name, path)
        except OutputError as error:
            _LOG.warning("%s is made on this node. %s", name, error)
            return False

    def put(self, name: str, path: Path) -> None:
        """Shares the file at ``path``; where that fails the log has a warning."""
        if self.storage is None:
            return
        try:
            self.storage.put(name, path)
        except OutputError as error:
            _LOG.warning("%s is not shared, other nodes make their own. %s", name, error)

    def lacks(self, name: str) -> bool:
        """Returns whether it would help others to share ``name``."""
        if self.storage is None:
            return False
        try:
            return not self.storage.exists(name)
        except OutputError:
            return False


NOT_SHARED = Sharing()
"""Of one node, or of nodes that see one file system."""
