"""What machines share: whole files under names, in a mounted folder or behind a URL."""

from energytune.storage.opened import redact_url
from energytune.storage.shared import SharedStorage

__all__ = ["SharedStorage", "redact_url"]
