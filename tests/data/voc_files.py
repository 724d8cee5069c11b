"""Hand-made files in PASCAL VOC's own layout, for tests.

Every image shows stripes of its classes, in the palette's colours, so that image and mask can be
compared pixel by pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from energytune.data.mask_files import voc_palette


def make_mask(classes: list[int], size: tuple[int, int], seed: int) -> np.ndarray:
    """Returns (height, width) uint8: stripes of each class, a border of 255 between them."""
    width, height = size
    rng = np.random.default_rng(seed)
    mask = np.full((height, width), 255, dtype=np.uint8)
    edges = np.linspace(0, width, len(classes) + 1).astype(int)
    for label, start, stop in zip(rng.permutation(classes), edges, edges[1:], strict=False):
        mask[:, start : stop - 1] = label
    return mask


def write_pair(folder: Path, key: str, mask: np.ndarray) -> None:
    """Writes an image of the mask's colours as JPEG and the mask as a palette PNG."""
    palette = voc_palette()
    Image.fromarray(palette[mask]).save(folder / "JPEGImages" / f"{key}.jpg", quality=95)
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette(palette.reshape(-1).tolist())
    picture.save(folder / "SegmentationClass" / f"{key}.png")


def write_voc(
    folder: Path,
    *,
    n_train: int = 20,
    n_val: int = 6,
    size: tuple[int, int] = (40, 30),
    n_classes: int = 4,
) -> Path:
    """Writes a ``VOC2012`` folder and returns it; image i shows background and class 1 + i % K."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part, n_images in {"train": n_train, "val": n_val}.items():
        keys = [f"2007_{part}_{index:03d}" for index in range(n_images)]
        for index, key in enumerate(keys):
            classes = [0, 1 + index % (n_classes - 1)]
            write_pair(folder, key, make_mask(classes, size, seed=index))
        lists = folder / "ImageSets" / "Segmentation"
        (lists / f"{part}.txt").write_text("\n".join(keys) + "\n")
    return folder
