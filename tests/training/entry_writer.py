"""Writes the array of an entry with numpy alone, in this process or in another one."""

from __future__ import annotations

import sys
import time
import zlib
from pathlib import Path

import numpy as np

from energytune.training.feature_entry import StoredFeatures, Written


class Writer:
    """Writes 6 samples of 5 numbers, and counts how often it does."""

    def __init__(self) -> None:
        self.values = np.arange(30, dtype=np.float16).reshape(1, 6, 5)
        self.n_calls = 0

    def __call__(self, folder: Path) -> Written:
        self.n_calls += 1
        path = folder / "features.npy"
        np.save(path, self.values)
        return Written(self.values.shape, "<f2", zlib.crc32(path.read_bytes()))


def values_of(stored: StoredFeatures) -> np.ndarray:
    flat = np.fromfile(stored.path, stored.dtype, offset=stored.offset)
    return flat.reshape(stored.shape)


def main() -> None:
    """Gets the entry of argv's store; tells on stdout what happens."""
    from energytune.training.feature_store import FeatureStore

    root, key, how = sys.argv[1:]

    def write(folder: Path) -> Written:
        print("computes", flush=True)
        if how == "hangs":
            time.sleep(600)
        return Writer()(folder)

    sys.stdin.readline()  # all start together
    stored = FeatureStore(Path(root)).get(
        key,
        1,
        6,
        n_bytes=60,
        parts={},
        write=write,
        on_wait=lambda: print("waits", flush=True),
    )
    print(values_of(stored).sum(), flush=True)


if __name__ == "__main__":
    main()
