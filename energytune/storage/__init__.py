"""What machines share: whole files under names, in a mounted folder or behind a URL."""

from energytune.storage.shared import SharedStorage

__all__ = ["SharedStorage"]
