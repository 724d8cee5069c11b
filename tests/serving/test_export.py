"""Exported files say what the model says, whatever the number of inputs, and hold no pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from energytune import load_champion
from energytune.data import load_dataset
from energytune.data.input_images import ImageInputs
from energytune.errors import ConfigError, MissingDataError, OutputError, UnknownNameError
from energytune.models.gcn_dense import traceable
from energytune.serving import Predictor, export, export_model, export_onnx, open_weights_file
from energytune.serving.examples import Examples
from tests.registered import ModelStore

pytestmark = pytest.mark.integration  # the store is a real registry

NAMES = ("digits", "colours", "digit-scenes", "molecules")


@pytest.fixture(scope="module")
def predictors(model_store: ModelStore) -> dict[str, Predictor]:
    return {name: load_champion(name, runs=model_store.root, device="cpu") for name in NAMES}


def inputs_of(name: str, predictor: Predictor, store: ModelStore) -> tuple[Any, np.ndarray]:
    """Returns inputs that were not generated for the check: raw, and as a graph takes them."""
    if name == "digits":
        raw = np.random.default_rng(7).integers(0, 17, (7, 64)).astype(np.float32)
        return raw, raw
    if name == "molecules":
        smiles = ["CCN", "FS(F)(F)(F)(F)F", "C" * 40]  # more neighbours and atoms than in training
        prepared = [predictor.preprocessing.prepare(one) for one in smiles]
        return smiles, predictor.preprocessing.stack(prepared).numpy()
    inputs = predictor.preprocessing
    assert isinstance(inputs, ImageInputs)
    if name == "digit-scenes":
        raw = np.random.default_rng(7).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
        return raw, raw
    files = sorted(path for path in (store.colours / "test").rglob("*") if path.is_file())
    return files, np.stack([inputs.pixels(file) for file in files])


@pytest.mark.parametrize("name", NAMES)
def test_onnx(
    name: str, predictors: dict[str, Predictor], model_store: ModelStore, tmp_path: Path
) -> None:
    predictor = predictors[name]
    done = export_model(predictor, "onnx", tmp_path / "deep" / "model.onnx")
    assert done.max_difference <= 1e-4
    assert done.n_bytes == done.path.stat().st_size
    assert [path.name for path in done.path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    raw, tensor = inputs_of(name, predictor, model_store)
    (taken,) = session.get_inputs()
    (probs,) = session.run(["probs"], {taken.name: tensor})
    np.testing.assert_allclose(probs, predictor.predict_probs(raw), atol=1e-4)
    meta = {entry.key: entry.value for entry in onnx.load(done.path).metadata_props}
    about = json.loads(meta["energytune"])
    assert tuple(about["class_names"]) == predictor.class_names
    assert about["preprocessing"] == predictor.description["preprocessing"]
    assert (about["version"], about["recipe"]["tau"]) == (1, 9)


@pytest.mark.parametrize("name", NAMES)
def test_torch(
    name: str, predictors: dict[str, Predictor], model_store: ModelStore, tmp_path: Path
) -> None:
    predictor = predictors[name]
    done = export_model(predictor, "torch", tmp_path / "model.pt2")
    extra = {"energytune.json": ""}
    program = torch.export.load(done.path, extra_files=extra).module()
    raw, tensor = inputs_of(name, predictor, model_store)
    with torch.inference_mode():
        probs = program(torch.from_numpy(tensor)).numpy()
    np.testing.assert_allclose(probs, predictor.predict_probs(raw), atol=1e-4)
    assert json.loads(extra["energytune.json"])["dataset"] == predictor.dataset
    with zipfile.ZipFile(done.path) as archive:
        for entry in archive.namelist():
            content = archive.read(entry)
            assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"PK")), entry
            assert not entry.endswith((".pt", ".pkl")) or not content, entry


@pytest.mark.parametrize("name", NAMES)
def test_safetensors(
    name: str, predictors: dict[str, Predictor], model_store: ModelStore, tmp_path: Path
) -> None:
    predictor = predictors[name]
    done = export_model(predictor, "safetensors", tmp_path / "model.safetensors")
    opened = open_weights_file(done.path)
    raw, _ = inputs_of(name, predictor, model_store)
    assert np.array_equal(opened.predict_probs(raw), predictor.predict_probs(raw))
    assert (opened.name, opened.version) == (predictor.name, predictor.version)
    assert opened.description == predictor.description


def test_a_file_that_predicts_otherwise_is_not_written(
    predictors: dict[str, Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = predictors["digits"]

    def write(predictor: Predictor, examples: Examples, path: Path) -> Any:
        path.write_bytes(b"x")
        return lambda examples: predictor.predict_probs(examples.raw) + 2e-4

    monkeypatch.setattr(export, "_writer", lambda _: write)
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"differ by up to 0.0002, more than 0.0001"):
        export_model(digits, "onnx", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_network_that_can_not_be_traced_is_refused(
    predictors: dict[str, Predictor], tmp_path: Path
) -> None:
    class Winding(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :10] if float(x.sum()) > 0 else x[:, -10:]

    winding = Predictor(Winding(), predictors["digits"].description, device="cpu")
    for file_format in ("onnx", "torch"):
        with pytest.raises(ConfigError, match=r"can't be traced by torch.export: .*safetensors"):
            export_model(winding, file_format, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_or_unknown_is_told(
    predictors: dict[str, Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = predictors["digits"]
    with pytest.raises(
        UnknownNameError, match=r"Unknown export format 'onx'\. Did you mean 'onnx'"
    ):
        export_model(digits, "onx", tmp_path / "x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't be written"):
        export_model(digits, "safetensors", tmp_path / "file" / "x")
    monkeypatch.setattr(export_onnx, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(
        MissingDataError, match=r'no_such_package.*pip install "energytune\[export\]"'
    ):
        export_model(digits, "onnx", tmp_path / "x")


def test_the_graph_network_is_the_same_without_graphs(predictors: dict[str, Predictor]) -> None:
    model = predictors["molecules"].model
    inputs, _ = next(iter(load_dataset("molecules").valid.batches(100)))
    inputs = torch.cat([inputs, torch.zeros_like(inputs[:1])])  # and one without atoms
    with torch.inference_mode():
        torch.testing.assert_close(traceable(model)(inputs), model(inputs), atol=1e-5, rtol=1e-5)
    digits = predictors["digits"].model
    assert traceable(digits) is digits
