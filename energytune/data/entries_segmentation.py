"""The segmentation datasets."""

from __future__ import annotations

from collections.abc import Callable

from energytune.data.entry import DatasetEntry

__all__ = ["ENTRIES", "OPEN"]

ENTRIES: tuple[DatasetEntry, ...] = (
    DatasetEntry(
        name="digit-scenes",
        description="Strokes of digits 0 to 4 on textured canvases, 64 x 64, pixel by pixel; "
        "backbone pretrained on which digit of 5 to 9 is shown.",
        n_classes=6,
        sizes="48 train, 60 valid, 100 test",
        backbone="scene-resnet",
        space="scenes",
        family="scenes",
        kind="pixels",
        embedded=True,
        pretrains=True,
    ),
    DatasetEntry(
        name="voc2012",
        description="PASCAL VOC 2012 segmentation, 20 classes and background; test is VOC's val.",
        n_classes=21,
        sizes="1,171 train, 293 valid, 1,449 test",
        backbone="resnet50.tv_in1k",
        space="voc2012",
        family="voc",
        kind="pixels",
        where="VOCdevkit/VOC2012",
        image_size=513,
    ),
)
"""In the order in which they are listed."""

OPEN: dict[str, Callable[[str], DatasetEntry]] = {}
"""Prefix of names such as ``csv:PATH`` -> makes the entry of such a name."""
