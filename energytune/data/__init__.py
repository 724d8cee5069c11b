"""Datasets as three splits that are kept apart: train, valid, and a test split under seal.

The names below load on first use, so that importing this room costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.on_demand import on_demand

if TYPE_CHECKING:
    from energytune.data.catalog import (
        DATASETS,
        OPEN_DATASETS,
        DatasetEntry,
        absolute_name,
        dataset_status,
        default_data_root,
        ensure_dataset,
        get_dataset,
        load_dataset,
    )
    from energytune.data.custom import splits_from_datasets
    from energytune.data.dataset_split import DatasetSplit
    from energytune.data.pretraining import PretrainSet, has_pretraining_set, pretraining_set
    from energytune.data.splits import HeldOut, Split, Splits, TensorSplit
    from energytune.data.validation import validate_splits

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "DatasetSplit",
    "HeldOut",
    "OPEN_DATASETS",
    "PretrainSet",
    "Split",
    "Splits",
    "TensorSplit",
    "absolute_name",
    "dataset_status",
    "default_data_root",
    "ensure_dataset",
    "get_dataset",
    "has_pretraining_set",
    "load_dataset",
    "pretraining_set",
    "splits_from_datasets",
    "validate_splits",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "catalog": (
            "DATASETS",
            "OPEN_DATASETS",
            "DatasetEntry",
            "absolute_name",
            "dataset_status",
            "default_data_root",
            "ensure_dataset",
            "get_dataset",
            "load_dataset",
        ),
        "custom": ("splits_from_datasets",),
        "dataset_split": ("DatasetSplit",),
        "pretraining": ("PretrainSet", "has_pretraining_set", "pretraining_set"),
        "splits": ("HeldOut", "Split", "Splits", "TensorSplit"),
        "validation": ("validate_splits",),
    },
)
