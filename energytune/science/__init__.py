"""Pure functions of tensors: energy and the adaptation of features.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from energytune.science.adaptation import Adaptation, feature_adaptation
from energytune.science.energy import (
    average_initial_energy,
    class_balanced_energy,
    energy_per_label,
    label_balanced_energy,
    linear_pull_norm,
    linear_pull_norms,
    mean_energy,
    reserved_energy,
    residual_norms,
    uniform_energy,
)

__all__ = [
    "Adaptation",
    "average_initial_energy",
    "class_balanced_energy",
    "energy_per_label",
    "feature_adaptation",
    "label_balanced_energy",
    "linear_pull_norm",
    "linear_pull_norms",
    "mean_energy",
    "reserved_energy",
    "residual_norms",
    "uniform_energy",
]
