"""Random logits and targets for the tests of the tasks, one case for each kind of target."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from energytune.tasks import Multiclass, MultiLabel, PerPixel, Task


@dataclass(frozen=True)
class Case:
    """A task with logits (N, K, *T, M) float64 and targets (N, *T)."""

    task: Task
    logits: torch.Tensor
    targets: torch.Tensor

    @property
    def n_heads(self) -> int:
        return self.logits.shape[-1]


def multiclass(n_samples: int = 9, n_classes: int = 4, n_heads: int = 3, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n_samples, n_classes, n_heads, generator=generator).double()
    targets = torch.randint(n_classes, (n_samples,), generator=generator)
    return Case(Multiclass(n_classes), logits, targets)


def multilabel(n_samples: int = 11, n_labels: int = 5, n_heads: int = 3, seed: int = 0) -> Case:
    """A quarter of the labels is missing, and all those of the first sample."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n_samples, n_labels, n_heads, generator=generator).double()
    targets = torch.randint(2, (n_samples, n_labels), generator=generator).float()
    targets[torch.rand(targets.shape, generator=generator) < 0.25] = torch.nan
    targets[0] = torch.nan
    return Case(MultiLabel(n_labels), logits, targets)


def images(n_classes: int = 4, n_heads: int = 3, seed: int = 0) -> Case:
    """Two images of 4 x 4 pixels, as high as there are classes; a quarter has no label."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, n_classes, 4, 4, n_heads, generator=generator).double()
    targets = torch.randint(n_classes, (2, 4, 4), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.25] = 255
    return Case(PerPixel(n_classes), logits, targets)


def pixel_rows(n_rows: int = 20, n_classes: int = 4, n_heads: int = 3, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n_rows, n_classes, n_heads, generator=generator).double()
    targets = torch.randint(n_classes, (n_rows,), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.25] = 255
    return Case(PerPixel(n_classes), logits, targets)


CASES = {
    "multiclass": multiclass(),
    "two classes": multiclass(n_classes=2),
    "multi-label": multilabel(),
    "one label": multilabel(n_labels=1),
    "images": images(),
    "rows of pixels": pixel_rows(),
}
