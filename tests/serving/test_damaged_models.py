"""Descriptions and requests of no sense are refused, with an error that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from energytune.errors import CheckpointError, DataError, EnergyTuneError
from energytune.serving.model_files import HEADER_KEY, assemble, open_folder, open_weights_file
from energytune.serving.requests import _column
from energytune.serving.sources import read_sources

SPEC = {
    "backbone": "digits-mlp", "input_shape": [64], "head_arch": "linear", "n_outputs": 3,
    "reinit_depth": 0,
}  # fmt: skip


@pytest.mark.parametrize("description", [[], 7, {}, {"spec": []}, {"spec": None}])
def test_a_description_without_a_network_is_damaged(description: Any) -> None:
    with pytest.raises(CheckpointError, match="says no network"):
        assemble(description, {})


@pytest.mark.parametrize(
    "change",
    [
        {"n_outputs": -1},
        {"n_outputs": "x"},
        {"input_shape": 7},
        {"reinit_depth": []},
        {"backbone": 1},
    ],
)
def test_a_network_of_no_sense_is_damaged(change: dict[str, Any]) -> None:
    with pytest.raises(EnergyTuneError):
        assemble({"spec": {**SPEC, **change}}, {})


@pytest.mark.parametrize("about", ["7", "[]", "{}", "[" * 100_000])
def test_exported_files_with_another_header_are_refused(tmp_path: Path, about: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {HEADER_KEY: about})
    with pytest.raises(CheckpointError, match="is no model"):
        open_weights_file(tmp_path / "m.safetensors")


def test_a_folder_with_endless_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "description.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="nested too deep"):
        open_folder(tmp_path)


@pytest.mark.parametrize("request_", [np.array(7), np.array("x"), 7, "x", None])
def test_a_request_without_rows_is_refused(request_: Any) -> None:
    with pytest.raises(DataError, match="must be a list"):
        _column(request_, None)


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\x01\x00\x0a\x00{'descr': (",
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 4), }".ljust(118),
        json.dumps({}).encode(),
        b"PK\x03\x04",
        b"",
    ],
)
def test_arrays_that_are_none_or_not_all_there_are_inputs_with_a_problem(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "rows.npy"
    path.write_bytes(content)
    (found,) = read_sources([str(path)], "ready", n_values=4)
    assert "no array of numbers" in found.problem


def test_lines_that_are_no_text_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "x.smi"
    path.write_bytes(b"CCO\n\xff\xfe\n")
    first, *_ = read_sources([str(path)], "smiles")
    assert first.raw == "CCO"
