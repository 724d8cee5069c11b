"""Head curves made by hand: a quiet one, of which each test changes what its rule looks at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from energytune.science.guide import GuideContext, HeadCurve

CONTEXT = GuideContext("digits", "", n_classes=10, tau_max=64, n_train=100, max_reinit_depth=2)

QUIET = HeadCurve(
    head_arch="linear",
    label_smoothing=0.0,
    reinit_depth=0,
    lr=0.03,
    seed=0,
    epochs=(0, 1, 2, 4, 8, 16, 32, 64),
    train_acc=(0.10, 0.30, 0.45, 0.60, 0.70, 0.78, 0.85, 0.85),
    valid_acc=(0.10, 0.28, 0.42, 0.55, 0.65, 0.72, 0.76, 0.76),
    valid_loss=(2.3, 1.9, 1.6, 1.3, 1.1, 1.0, 0.9, 0.9),
    aie=(0.95, 0.85, 0.75, 0.62, 0.50, 0.40, 0.31, 0.30),
    head_norm=(1.9, 1.9, 2.0, 2.1, 2.2, 2.4, 2.5, 2.6),
    pull_norm=(0.56, 0.55, 0.52, 0.48, 0.42, 0.36, 0.30, 0.29),
    converged_epoch=None,
)
"""Learns to 85 %, stands still over the last octave, and shows nothing but a range of energies."""


def curve(**changes: Any) -> HeadCurve:
    """The quiet curve with some fields changed; a number stands for a constant series."""
    series = ("train_acc", "valid_acc", "valid_loss", "aie", "head_norm", "pull_norm")
    epochs = changes.get("epochs", QUIET.epochs)
    for name in series:
        if isinstance(changes.get(name), float):
            changes[name] = (changes[name],) * len(epochs)
    return replace(QUIET, **changes)
