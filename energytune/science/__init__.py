"""Pure functions of tensors: energy, the adaptation of features, kernel and linear theory.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.

The names below load on first use: who only reads records needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.on_demand import on_demand

if TYPE_CHECKING:
    from energytune.science.adaptation import (
        Adaptation,
        feature_adaptation,
    )
    from energytune.science.energy import (
        average_initial_energy,
        class_balanced_energy,
        energy_per_label,
        label_balanced_energy,
        linear_pull_norm,
        linear_pull_norms,
        mean_energy,
        residual_norms,
    )
    from energytune.science.energy_levels import (
        reserved_energy,
        uniform_energy,
    )
    from energytune.science.kernel import (
        Drift,
        KernelDrift,
        empirical_kernel,
        kernel_norms,
        predicted_feature_step,
    )
    from energytune.science.linear_flow import (
        flow_adaptation,
        flow_dot_maximum,
        flow_turning_share,
    )
    from energytune.science.linear_phases import (
        AdaptationPhase,
        adaptation_phase,
        dot_maximum,
        head_share,
        norm_maximum,
        path_share,
        turning_share,
    )
    from energytune.science.linear_theory import (
        LinearAdaptation,
        LinearKernel,
        backbone_pull,
        head_with_outputs,
        linear_adaptation,
        linear_finetuned,
        linear_kernel,
        linear_outputs,
    )

__all__ = [
    "Adaptation",
    "AdaptationPhase",
    "Drift",
    "KernelDrift",
    "LinearAdaptation",
    "LinearKernel",
    "adaptation_phase",
    "average_initial_energy",
    "backbone_pull",
    "class_balanced_energy",
    "dot_maximum",
    "empirical_kernel",
    "energy_per_label",
    "feature_adaptation",
    "flow_adaptation",
    "flow_dot_maximum",
    "flow_turning_share",
    "head_share",
    "head_with_outputs",
    "kernel_norms",
    "label_balanced_energy",
    "linear_adaptation",
    "linear_finetuned",
    "linear_kernel",
    "linear_outputs",
    "linear_pull_norm",
    "linear_pull_norms",
    "mean_energy",
    "norm_maximum",
    "path_share",
    "predicted_feature_step",
    "reserved_energy",
    "residual_norms",
    "turning_share",
    "uniform_energy",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "adaptation": ("Adaptation", "feature_adaptation"),
        "energy": (
            "average_initial_energy",
            "class_balanced_energy",
            "energy_per_label",
            "label_balanced_energy",
            "linear_pull_norm",
            "linear_pull_norms",
            "mean_energy",
            "residual_norms",
        ),
        "energy_levels": ("reserved_energy", "uniform_energy"),
        "kernel": (
            "Drift",
            "KernelDrift",
            "empirical_kernel",
            "kernel_norms",
            "predicted_feature_step",
        ),
        "linear_flow": ("flow_adaptation", "flow_dot_maximum", "flow_turning_share"),
        "linear_phases": (
            "AdaptationPhase",
            "adaptation_phase",
            "dot_maximum",
            "head_share",
            "norm_maximum",
            "path_share",
            "turning_share",
        ),
        "linear_theory": (
            "LinearAdaptation",
            "LinearKernel",
            "backbone_pull",
            "head_with_outputs",
            "linear_adaptation",
            "linear_finetuned",
            "linear_kernel",
            "linear_outputs",
        ),
    },
)
