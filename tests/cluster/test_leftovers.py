from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from energytune.cluster.leftovers import PREFIX, drop_stale_folders


def made(root: Path, name: str, pid: int | None) -> Path:
    folder = root / name
    (folder / "logs").mkdir(parents=True)
    if pid is not None:
        (folder / f"session_2026-11-29_11-42-21_636149_{pid}" / "sockets").mkdir(parents=True)
        (folder / "session_latest").symlink_to(folder / f"session_2026-11-29_11-42-21_636149_{pid}")
    return folder


def test_only_folders_of_drivers_that_are_gone_are_deleted(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = made(tmp_path, f"{PREFIX}a", ended.pid)
    lives = made(tmp_path, f"{PREFIX}b", os.getpid())
    begins = made(tmp_path, f"{PREFIX}c", None)  # its session is not there yet
    other = made(tmp_path, "et-d", ended.pid)
    link = tmp_path / f"{PREFIX}e"
    link.symlink_to(other)
    assert drop_stale_folders(tmp_path) == 1
    assert not stale.exists()
    assert all(folder.exists() for folder in (lives, begins, other, link))
    assert drop_stale_folders(tmp_path) == 0
