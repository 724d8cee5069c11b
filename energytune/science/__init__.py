"""Pure functions of tensors: energy and the adaptation of features.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from energytune.science.adaptation import Adaptation, feature_adaptation
from energytune.science.energy import average_initial_energy, reserved_energy, uniform_energy

__all__ = [
    "Adaptation",
    "average_initial_energy",
    "feature_adaptation",
    "reserved_energy",
    "uniform_energy",
]
