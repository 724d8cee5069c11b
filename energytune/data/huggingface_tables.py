"""Reads datasets with the Hugging Face library: tables with an image and a label in each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import numpy as np

from energytune.data.entry import DatasetEntry, LoadRequest
from energytune.data.huggingface_images import TableImages, row_digests
from energytune.data.image_splits import make_splits, parts_of
from energytune.data.name_options import HF_OPTIONS, is_path, parse_name, slug
from energytune.data.splits import Splits
from energytune.errors import DataError, MissingDataError
from energytune.redact import redact

__all__ = ["read_tables", "table_splits"]

_VALID_NAMES = ("validation", "valid", "val")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "category")
_REASON_LENGTH = 400
_LARGEST = 10_000  # a column of whole numbers above this is no column of classes


def read_tables(entry: DatasetEntry, *, offline: bool) -> dict[str, Any]:
    """Reads all splits; images stay encoded.

    Args:
        entry: Which dataset.
        offline: Whether the Hub must not be asked.

    Returns:
        Official name of a split -> ``datasets.Dataset``.

    Raises:
        DataError: The library can't read it; says why.
        MissingDataError: The Hub has no such dataset.
    """
    config = parse_name(entry.name, HF_OPTIONS).options.get("config")
    where = entry.where
    with _quiet(offline or is_path(where)):
        try:
            if is_path(where) and _is_saved(where):
                tables = datasets.load_from_disk(where)
            else:
                tables = datasets.load_dataset(where, config)
        except datasets.exceptions.DatasetNotFoundError as error:
            raise MissingDataError(f"Dataset {entry.name!r}: {_in_one_line(error)}") from error
        except Exception as error:  # the library's readers raise whatever they meet
            reason = _in_one_line(error)
            hint = " Name one with ?config=NAME." if "config" in reason.casefold() else ""
            raise DataError(
                f"Dataset {entry.name!r} can't be read by datasets.load_dataset: "
                f"{type(error).__name__}: {reason}{hint}"
            ) from error
    if isinstance(tables, datasets.Dataset):
        return {str(tables.split or "train"): tables}
    return {str(name): table for name, table in tables.items()}


def table_splits(
    entry: DatasetEntry,
    tables: dict[str, Any],
    options: Mapping[str, str],
    request: LoadRequest,
) -> Splits:
    """Makes splits of tables.

    Args:
        entry: Which dataset.
        tables: Official name of a split -> ``datasets.Dataset``.
        options: Names of columns and splits that the user gave.
        request: How it is to be loaded.

    Raises:
        DataError: Splits or columns are missing or ambiguous, or labels break a rule.
    """
    chosen, note = _choose_splits(entry, tables, options)
    features = tables[chosen["train"]].features
    image = _choose(entry, "image", _image_columns(features), features, options)
    label = _choose(entry, "label", _label_columns(features), features, options)
    class_names = _class_names(entry, tables[chosen["train"]], label)
    sources = {}
    for part, split in chosen.items():
        where = f"the split {split!r} of dataset {entry.name!r}"
        lacks = {image, label} - set(tables[split].features)
        if lacks:
            raise DataError(f"{where} lacks the column {', '.join(sorted(lacks))} of train.")
        rows = tables[split].cast_column(image, datasets.Image(decode=False))
        targets = _targets(rows, label, class_names, where)
        digests = row_digests(rows.select_columns([image]), image, where, request.progress)
        sources[part] = TableImages(rows.select_columns([image]), image, targets, digests)
    parts = parts_of(sources["train"], sources.get("valid"), sources["test"])
    return make_splits(
        f"hf-{slug(_short(entry.where), 'dataset')}",
        parts,
        class_names=class_names,
        request=request,
        told=entry.name,
        note=note,
    )


def _choose_splits(
    entry: DatasetEntry, tables: dict[str, Any], options: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Returns part -> official split, and what the protocol says about it."""
    held = ", ".join(f"{name} ({len(table):,})" for name, table in tables.items())
    for part in ("train", "valid", "test"):
        if part in options and options[part] not in tables:
            raise DataError(
                f"Dataset {entry.name!r} has no split {options[part]!r}; it has {held}."
            )
    valid = options.get("valid") or next((n for n in _VALID_NAMES if n in tables), None)
    chosen = {"train": options.get("train", "train"), "test": options.get("test", "test")}
    note = ""
    if chosen["test"] not in tables and valid is not None and "valid" not in options:
        chosen["test"], note = valid, f"test is the official {valid}, valid cut from train"
    elif valid is not None and valid != chosen["test"]:
        chosen["valid"] = valid
    missing = [split for split in chosen.values() if split not in tables]
    if missing:
        raise DataError(
            f"Dataset {entry.name!r} has no split {missing[0]!r}; it has {held}. A search selects "
            "and reports on different images, so it needs train and test. Say which splits they "
            "are with ?train=NAME&test=NAME, or cut them: save_to_disk(FOLDER) what "
            "train_test_split(seed=0) returns, and name it hf:FOLDER."
        )
    if len(set(chosen.values())) < len(chosen):
        raise DataError(
            f"Dataset {entry.name!r} uses one split twice: "
            f"{', '.join(f'{part}={split}' for part, split in chosen.items())}. It has {held}."
        )
    return chosen, note


def _image_columns(features: Any) -> list[str]:
    return [name for name, kind in features.items() if isinstance(kind, datasets.Image)]


def _label_columns(features: Any) -> list[str]:
    """Returns the columns of classes; failing those, plain ones with a usual name."""
    declared = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    plain = [name for name in _LABEL_NAMES if name in features and _is_plain(features[name])]
    return declared or plain


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, datasets.Value) and kind.dtype.startswith(("int", "uint", "string"))


def _choose(
    entry: DatasetEntry, what: str, found: list[str], features: Any, options: Mapping[str, str]
) -> str:
    told = options.get(what)
    if told is None and len(found) == 1:
        return found[0]
    if told is not None and told in features:
        kind = features[told]
        fits = told in found or (
            what == "label" and (isinstance(kind, datasets.ClassLabel) or _is_plain(kind))
        )
        if fits:
            return told
        problem = f"can't take the column {told!r} ({type(kind).__name__}) as {what}"
    elif told is not None:
        problem = f"has no column {told!r}"
    else:
        several = f"several {what} columns: {', '.join(found)}"
        problem = f"has {several if found else f'no {what} column'}"
    columns = ", ".join(f"{name} ({_kind_name(kind)})" for name, kind in features.items())
    raise DataError(
        f"Dataset {entry.name!r} {problem}. Its columns are: {columns}. Say which one to take with "
        f"'{entry.name.partition('?')[0]}?{what}=COLUMN'."
    )


def _kind_name(kind: Any) -> str:
    return kind.dtype if isinstance(kind, datasets.Value) else type(kind).__name__


def _class_names(entry: DatasetEntry, train: Any, label: str) -> list[str]:
    kind = train.features[label]
    if isinstance(kind, datasets.ClassLabel):
        return list(kind.names)
    values = _column(train, label)
    if None in values:
        raise DataError(
            f"Sample {values.index(None)} of the training split of dataset {entry.name!r} has no "
            f"label in column {label!r}."
        )
    if values and isinstance(values[0], str):
        return sorted(set(values))
    largest = max(values, default=-1)
    if largest >= _LARGEST:
        raise DataError(
            f"Column {label!r} of dataset {entry.name!r} has values up to {largest:,}: these are "
            "no classes. Name another column with ?label=COLUMN."
        )
    return [str(index) for index in range(largest + 1)]


def _targets(rows: Any, label: str, class_names: list[str], where: str) -> Any:
    """Returns class indices, (N,) int64; -1 where there is no label."""
    values = _column(rows, label)
    if any(isinstance(value, str) for value in values):
        lookup = {name: index for index, name in enumerate(class_names)}
        strange = sorted({str(value) for value in values} - set(lookup))
        if strange:
            raise DataError(f"Classes absent from train: {where} has {', '.join(strange[:5])}.")
        values = [lookup[value] for value in values]
    targets = np.array([-1 if value is None else value for value in values], dtype=np.int64)
    if len(targets) and (targets < 0).all():
        raise DataError(
            f"No labels: {where} has none (all are -1 or empty), as the test sets of competitions "
            "do. Take another split with ?test=NAME, for example the validation set."
        )
    return targets


def _column(rows: Any, name: str) -> list[Any]:
    return list(rows.select_columns([name])[:][name])


def _is_saved(where: str) -> bool:
    folder = Path(where)
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _short(where: str) -> str:
    return Path(where).name if is_path(where) else where


def _in_one_line(error: Exception) -> str:
    return " ".join(redact(str(error)).split())[:_REASON_LENGTH] or "no reason given"


@contextmanager
def _quiet(offline: bool) -> Iterator[None]:
    """Keeps the library from drawing over the screen and, if wanted, from asking the Hub.

    Without a network it would try for some 20 seconds.
    """
    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    # both are asked, at each call
    switches: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = switch.HF_HUB_OFFLINE or offline
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = was
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
