"""What a target is: its loss, its residual, its score.

This is the only room that knows about softmax and sigmoid. Targets are one class of a sample
(:class:`Multiclass`), several yes-or-no labels of a sample, some of them missing
(:class:`MultiLabel`), or one class of every pixel (:class:`PerPixel`).
"""

from energytune.tasks.base import SCORE_NAMES, Meter, Smoothing, Task
from energytune.tasks.multiclass import Multiclass
from energytune.tasks.multilabel import MultiLabel
from energytune.tasks.per_pixel import PerPixel

__all__ = ["SCORE_NAMES", "Meter", "MultiLabel", "Multiclass", "PerPixel", "Smoothing", "Task"]
