"""Labels that RDKit computes: descriptors above their median, and alerts for reactive groups.

The alerts are the groups that toxicologists look for first ([Kazius2005]_ lists many), not a
measurement of any toxicity. Some labels ask for a group alone, others also for what kind of
molecule it sits in, as a reactive group harms only where it gets to.

.. [Kazius2005] J. Kazius, R. McGuire, R. Bursi. Derivation and validation of toxicophores for
   mutagenicity prediction. Journal of Medicinal Chemistry 48, 2005.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALERTS",
    "DESCRIPTORS",
    "TOXICOPHORES",
    "Toxicophore",
    "above_median",
    "descriptor_values",
    "found_alerts",
    "spoil",
    "toxicophore_labels",
]

DESCRIPTORS = (
    "MolWt",
    "MolLogP",
    "TPSA",
    "MolMR",
    "LabuteASA",
    "FractionCSP3",
    "HallKierAlpha",
    "Kappa3",
    "Chi1v",
    "NumHAcceptors",
    "NumHeteroatoms",
    "NumAromaticRings",
    "NumSaturatedRings",
    "NumAmideBonds",
)
"""Names in ``rdkit.Chem.Descriptors``."""

ALERTS: Mapping[str, tuple[str, ...]] = {
    "nitro": ("[N+](=O)[O-]", "ON=O"),
    "azo": ("N=N",),
    "strained ring": ("C1OC1", "C1NC1"),
    "enone": ("C=CC=O",),
    "aromatic amine": ("c[NX3;H2,H1;!$(N[C,S]=[O,S,N]);!$(N[#7,#8])]",),
    "aldehyde": ("[CX3H1](=O)[#6]",),
    "hydrazine": ("[NX3][NX3]", "C=N[NX3]"),
    "alkyl halide": ("[CX4][Cl,Br,I]",),
    "thiol": ("[SX2H]",),
    "isothiocyanate": ("N=C=S",),
    "thioamide": ("NC=S",),
    "aromatic halide": ("c[Cl,Br]",),
    "aliphatic amine": ("[CX4][NX3;H2,H1;!$(N[C,S]=[O,S,N]);!$(N[#7,#8])]",),
}
"""Groups by name, as SMARTS of which one must occur."""

_REACTIVE = (
    "nitro",
    "azo",
    "strained ring",
    "enone",
    "aldehyde",
    "hydrazine",
    "alkyl halide",
    "thiol",
    "isothiocyanate",
    "thioamide",
)


@dataclass(frozen=True)
class Toxicophore:
    """One label.

    Attributes:
        alerts: Groups that count.
        n_alerts: How many different ones must be there.
        descriptor: What else must hold: a name in :data:`DESCRIPTORS` and the side of its median.
    """

    alerts: tuple[str, ...]
    n_alerts: int = 1
    descriptor: tuple[str, Literal["high", "low"]] | None = None


TOXICOPHORES: Mapping[str, Toxicophore] = {
    "nitro or azo": Toxicophore(("nitro", "azo")),
    "enone or aldehyde": Toxicophore(("enone", "aldehyde")),
    "hydrazine": Toxicophore(("hydrazine",)),
    "reactive sulphur": Toxicophore(("thiol", "isothiocyanate", "thioamide")),
    "lipophilic alkylating": Toxicophore(
        ("strained ring", "alkyl halide", "enone"), descriptor=("MolLogP", "high")
    ),
    "unsaturated mutagenic": Toxicophore(
        ("nitro", "azo", "aromatic amine", "hydrazine"), descriptor=("FractionCSP3", "low")
    ),
    "polar protein binding": Toxicophore(
        ("aldehyde", "isothiocyanate", "enone", "aliphatic amine"), descriptor=("TPSA", "high")
    ),
    "unpolar halide": Toxicophore(("alkyl halide", "aromatic halide"), descriptor=("TPSA", "low")),
    "small with two alerts": Toxicophore(tuple(ALERTS), n_alerts=2, descriptor=("MolWt", "low")),
    "flexible reactive": Toxicophore(_REACTIVE, descriptor=("Kappa3", "high")),
    "lipophilic reactive": Toxicophore(_REACTIVE, descriptor=("MolLogP", "high")),
    "unsaturated amine": Toxicophore(
        ("aromatic amine", "aliphatic amine", "hydrazine", "strained ring"),
        descriptor=("FractionCSP3", "low"),
    ),
}
"""Labels by name: a group that reacts, in some of them only where the molecule lets it act."""


def descriptor_values(molecules: Sequence[Any]) -> NDArray[np.float64]:
    """Returns :data:`DESCRIPTORS` of RDKit's molecules, (N, D)."""
    from rdkit.Chem import Descriptors

    functions = [getattr(Descriptors, name) for name in DESCRIPTORS]
    return np.array([[f(molecule) for f in functions] for molecule in molecules], np.float64)


def above_median(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns for each descriptor whether it lies above the median of these molecules, (N, D)."""
    return (values > np.median(values, axis=0)).astype(np.float32)


def found_alerts(molecules: Sequence[Any]) -> list[frozenset[str]]:
    """Returns which of :data:`ALERTS` each of RDKit's molecules has."""
    from rdkit import Chem

    patterns = {
        name: [Chem.MolFromSmarts(text) for text in texts] for name, texts in ALERTS.items()
    }
    return [
        frozenset(
            name
            for name, alternatives in patterns.items()
            if any(molecule.HasSubstructMatch(pattern) for pattern in alternatives)
        )
        for molecule in molecules
    ]


def toxicophore_labels(
    alerts: Sequence[frozenset[str]], descriptors: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Returns :data:`TOXICOPHORES` of N molecules, (N, 12) of 0 and 1.

    Args:
        alerts: From :func:`found_alerts`.
        descriptors: From :func:`descriptor_values`; the medians are those of these molecules.
    """
    is_high = above_median(descriptors)
    labels = np.zeros((len(alerts), len(TOXICOPHORES)), np.float32)
    for column, toxicophore in enumerate(TOXICOPHORES.values()):
        wanted = frozenset(toxicophore.alerts)
        labels[:, column] = [len(wanted & found) >= toxicophore.n_alerts for found in alerts]
        if toxicophore.descriptor is not None:
            name, side = toxicophore.descriptor
            high = is_high[:, DESCRIPTORS.index(name)]
            labels[:, column] *= high if side == "high" else 1.0 - high
    return labels


def spoil(
    labels: NDArray[np.float32], keys: Sequence[str], *, noise: float, missing: float, seed: int
) -> NDArray[np.float32]:
    """Returns labels with some turned over and others taken away (NaN), as measured ones are.

    Args:
        labels: (N, L) of 0 and 1.
        keys: What names a molecule for ever, N texts: what happens to its labels depends on
            nothing else.
        noise: Share that is turned over, in [0, 1).
        missing: Share that is taken away, in [0, 1).
        seed: Of both.
    """
    draws = np.array(
        [[_uniform(seed, key, label) for label in range(labels.shape[1])] for key in keys]
    ).reshape(*labels.shape, 2)
    turned = np.where(draws[..., 0] < noise, 1.0 - labels, labels)
    return np.where(draws[..., 1] < missing, np.nan, turned).astype(np.float32)


def _uniform(seed: int, key: str, label: int) -> tuple[float, float]:
    """Returns two numbers in [0, 1)."""
    digest = hashlib.sha256(f"{seed}\0{key}\0{label}".encode()).digest()
    first, second = (int.from_bytes(digest[i : i + 6], "big") for i in (0, 6))
    return first / 2**48, second / 2**48
