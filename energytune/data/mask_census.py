"""What is in each pair of image and mask, found once and remembered.

A search must know which classes a split holds and by what content its score is addressed, and
each of its processes loads the data. Reading all of VOC takes most of a minute; what was found is
kept in the user's cache, and holds for a file as long as its size and modification time do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from energytune.data.image_reading import FORMATS
from energytune.data.mask_files import MaskPair, check_same_size, read_mask
from energytune.errors import DataError, EnergyTuneError
from energytune.json_text import read_json
from energytune.paths import atomic_file, cache_dir
from energytune.progress import NO_PROGRESS, Progress

__all__ = ["PairFacts", "take_census"]


@dataclass(frozen=True)
class PairFacts:
    """What is known of one pair.

    Attributes:
        digest: sha256 (hex) over the image's and the mask's file.
        size: Width and height in pixels.
        pixels: Number of pixels of each class, K values.
    """

    digest: str
    size: tuple[int, int]
    pixels: tuple[int, ...]


def take_census(
    pairs: Sequence[MaskPair],
    class_names: Sequence[str],
    *,
    name: str,
    progress: Progress = NO_PROGRESS,
) -> list[PairFacts]:
    """Returns the facts of each pair, in order; reads the files that are new or changed.

    Masks are decoded and checked. Of an image only its header is, so that a damaged one is
    found when it is trained on.

    Args:
        pairs: The samples.
        class_names: Of the K classes.
        name: Of the dataset; with the folder and the classes it tells censuses apart.
        progress: Told each pair, if any has to be read.

    Raises:
        DataError: A file can't be read, a mask holds an unknown class, or image and mask differ
            in size; names the file.
    """
    folder = str(pairs[0].mask.parent.resolve()) if pairs else ""
    address = hashlib.sha256("\0".join([name, folder, *class_names]).encode()).hexdigest()[:24]
    note = cache_dir() / "data" / "census" / f"{address}.json"
    known = _read(note)
    seen = {pair.key: _seen(pair) for pair in pairs}
    facts: dict[str, PairFacts] = {}
    unread = []
    for pair in pairs:
        entry = known.get(pair.key)
        if isinstance(entry, dict) and entry.get("seen") == seen[pair.key]:
            facts[pair.key] = PairFacts(
                entry["digest"], (entry["size"][0], entry["size"][1]), tuple(entry["pixels"])
            )
        else:
            unread.append(pair)
    if unread:
        with progress.stage(f"reading the masks of {name}", total=len(unread)) as advance:
            for pair in unread:
                facts[pair.key] = _facts(pair, class_names)
                advance(1)
        _write(note, {key: {**asdict(facts[key]), "seen": seen[key]} for key in seen})
    return [facts[pair.key] for pair in pairs]


def _facts(pair: MaskPair, class_names: Sequence[str]) -> PairFacts:
    mask = read_mask(pair.mask, class_names)
    try:
        with Image.open(pair.image, formats=FORMATS) as image:
            size = image.size
        content = pair.image.read_bytes() + pair.mask.read_bytes()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise DataError(
            f"{pair.image} can't be read as an image: {type(failure).__name__}: {failure}. "
            "Replace the file, or take it out of the list that names it."
        ) from failure
    check_same_size(pair, size, mask.size)
    counts = np.bincount(np.array(mask).reshape(-1), minlength=256)[: len(class_names)]
    return PairFacts(
        hashlib.sha256(content).hexdigest(), size, tuple(int(count) for count in counts)
    )


def _seen(pair: MaskPair) -> list[int]:
    """Returns by what a change of the files shows."""
    stats = [path.stat() for path in (pair.image, pair.mask)]
    return [value for stat in stats for value in (stat.st_size, stat.st_mtime_ns)]


def _read(note: Path) -> dict[str, Any]:
    try:
        content = read_json(note)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(note: Path, content: dict[str, Any]) -> None:
    try:
        with atomic_file(note, "") as file:
            file.write(json.dumps(content).encode())
    except EnergyTuneError:
        return  # only costs reading the files again next time
