"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(*parts: int | str) -> int:
    """Returns a seed in [0, 2**63) that depends on every part and on nothing else.

    Used instead of carrying generator states around: the batch order of an epoch is seeded by
    (seed, stage, epoch), so a run that resumes at an epoch equals one that never stopped.
    """
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
