"""What must hold of yes-or-no labels before a search starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from energytune.data.validation import check_not_empty
from energytune.errors import DataError

__all__ = ["check_labels"]

_SHOWN = 5


def check_labels(
    targets: Mapping[str, Tensor], label_names: Sequence[str], *, name: str, split: str = ""
) -> list[str]:
    """Checks the labels of three splits.

    Args:
        targets: (N, L) of ``train``, ``valid`` and ``test``: 1, 0, or NaN where missing.
        label_names: L names.
        name: The dataset's name, for messages.
        split: How it was split, for messages: ``"Murcko scaffold split"``.

    Returns:
        What a person should know: labels of valid or test that can't be scored.

    Raises:
        DataError: A split is empty or has no label, a target is neither 0, 1 nor missing, a label
            has one class only in train, or none can be scored in valid or test.
    """
    for part, labels in targets.items():
        where = f"the {part} split of dataset {name!r}"
        check_not_empty(len(labels), where)
        _check_values(labels, label_names, where)
    counts = {part: _counts(labels) for part, labels in targets.items()}
    _check_train(counts, label_names, name, split)
    return [
        note
        for part in targets
        if part != "train" and (note := _check_scored(counts, part, label_names, name, split))
    ]


def _counts(labels: Tensor) -> Tensor:
    """Returns the yes and no of each label, (L, 2)."""
    return torch.stack(((labels > 0).sum(dim=0), (labels == 0).sum(dim=0)), dim=1)


def _check_values(labels: Tensor, label_names: Sequence[str], where: str) -> None:
    known = ~torch.isnan(labels)
    if not bool(known.any()):
        raise DataError(
            f"Missing labels only: none of the {len(labels):,} samples of {where} has a label."
        )
    wrong = torch.nonzero(known & (labels != 0) & (labels != 1))
    if len(wrong):
        sample, label = wrong[0].tolist()
        raise DataError(
            f"Labels out of range: labels of {where} must be 0, 1 or missing (NaN), but sample "
            f"{sample} has {float(labels[sample, label]):g} for {label_names[label]!r} "
            f"({len(wrong):,} such labels)."
        )


def _check_train(
    counts: Mapping[str, Tensor], label_names: Sequence[str], name: str, split: str
) -> None:
    one_sided = torch.nonzero((counts["train"] == 0).any(dim=1)).squeeze(1).tolist()
    if not one_sided:
        return
    told = "; ".join(
        f"{label_names[label]!r} has "
        + ", ".join(f"{yes} yes and {no} no in {part}" for part, (yes, no) in _of(counts, label))
        for label in one_sided[:_SHOWN]
    )
    more = f"; and {len(one_sided) - _SHOWN} more" if len(one_sided) > _SHOWN else ""
    everywhere = torch.stack(list(counts.values())).sum(dim=0)
    cause = ""
    if split and all(int(everywhere[label].min()) > 0 for label in one_sided):
        cause = f" The {split} leaves this class out of train."
    raise DataError(
        f"One class only in train: each label of dataset {name!r} needs at least one yes and one "
        f"no among the training samples, but {told}{more}.{cause} Leave such labels out "
        "(csv:PATH?labels=COLUMN,COLUMN), split otherwise (a column 'split' with train, valid or "
        "test), or add samples."
    )


def _of(counts: Mapping[str, Tensor], label: int) -> list[tuple[str, list[int]]]:
    return [(part, of_part[label].tolist()) for part, of_part in counts.items()]


def _check_scored(
    counts: Mapping[str, Tensor], part: str, label_names: Sequence[str], name: str, split: str
) -> str:
    """Returns a note on the labels that can't be scored; empty if all can."""
    scored = (counts[part] > 0).all(dim=1)
    if bool(scored.all()):
        return ""
    unscored = [label_names[label] for label in torch.nonzero(~scored).squeeze(1).tolist()]
    if len(unscored) == len(label_names):
        told = "; ".join(
            f"{label_names[label]!r} has {yes} yes and {no} no"
            for label, (yes, no) in enumerate(counts[part][:_SHOWN].tolist())
        )
        how = f" ({split})" if split else ""
        raise DataError(
            f"Nothing to score: no label of dataset {name!r} has both classes in {part}{how}: "
            f"{told}. ROC-AUC needs a yes and a no: split otherwise (a column 'split' with train, "
            "valid or test), or add samples."
        )
    shown = ", ".join(unscored[:_SHOWN]) + (", ..." if len(unscored) > _SHOWN else "")
    return (
        f"{len(unscored)} of {len(label_names)} labels have one class only in {part} and are not "
        f"scored there: {shown}"
    )
