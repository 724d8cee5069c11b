"""The datasets that need nothing on disk: transfers between scikit-learn's digits."""

from __future__ import annotations

from energytune.data.entry import DatasetEntry

__all__ = ["ENTRIES"]


def _digits(
    name: str, description: str, *, n_classes: int = 10, sizes: tuple[int, int, int]
) -> DatasetEntry:
    n_train, n_valid, n_test = sizes
    return DatasetEntry(
        name=name,
        description=description,
        n_classes=n_classes,
        sizes=f"{n_train} train, {n_valid} valid, {n_test} test",
        backbone="digits-mlp",
        space="default",
        family="embedded",
        embedded=True,
        pretrains=True,
    )


_USUAL = (100, 400, 597)
ENTRIES = (
    _digits(
        "digits",
        "Handwritten digits, 8 x 8; backbone pretrained on even/odd.",
        sizes=_USUAL,
    ),
    _digits(
        "digits-rotated",
        "Digits 0, 1, 2 rotated and cropped; backbone pretrained on 3 to 9 upright.",
        n_classes=3,
        sizes=(60, 240, 237),
    ),
    _digits(
        "digits-same",
        "Control: backbone pretrained on the same ten digits, other images.",
        sizes=_USUAL,
    ),
    _digits(
        "digits-fewshot",
        "As digits, with three training images a class.",
        sizes=(30, 400, 597),
    ),
    _digits(
        "digits-halves",
        "Digits 5 to 9; backbone pretrained on 0 to 4.",
        n_classes=5,
        sizes=(50, 400, 446),
    ),
    _digits(
        "digits-inverted",
        "Digits black on white; backbone pretrained on white on black.",
        sizes=_USUAL,
    ),
    _digits(
        "digits-rot90",
        "Digits turned by 90 degrees; backbone pretrained on upright ones.",
        sizes=_USUAL,
    ),
    _digits(
        "digits-permuted",
        "Digits with all pixels moved; backbone pretrained on digits.",
        sizes=_USUAL,
    ),
)
"""In the order in which they are listed."""
