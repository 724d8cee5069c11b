"""The registered pyfunc takes raw inputs of each family, checks them, and unpickles nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from energytune import load_champion
from energytune.data.digits_source import read_digits
from energytune.tracking.client import global_uri
from tests.registered import ModelStore, png

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("ENERGYTUNE_DEVICE", "cpu")


@pytest.fixture(scope="module")
def models(model_store: ModelStore) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch, global_uri(model_store.uri):
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        return {
            name: mlflow.pyfunc.load_model(f"models:/energytune-{name}@champion")
            for name in model_store.models
        }


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def colour_files(store: ModelStore) -> list[bytes]:
    files = sorted(path for path in (store.colours / "test").rglob("*") if path.is_file())
    return [path.read_bytes() for path in files]


def test_images_as_base64_and_as_bytes(models: dict[str, Any], model_store: ModelStore) -> None:
    files = colour_files(model_store)
    expected = load_champion("colours", runs=model_store.root, device="cpu").predict_probs(files)
    texts = [b64(file) for file in files]
    for column in (texts, files, [f"data:image/png;base64,{text}" for text in texts]):
        answer = models["colours"].predict(pd.DataFrame({"image": column}))
        np.testing.assert_allclose(answer["probs"], expected, atol=1e-6)
        assert answer["label"].tolist() == expected.argmax(1).tolist()
        names = np.array(["blue", "green", "red"])[expected.argmax(1)]
        assert answer["class_name"].tolist() == names.tolist()
    one_by_one = models["colours"].predict(pd.DataFrame({"image": texts}), params={"batch_size": 1})
    np.testing.assert_allclose(one_by_one["probs"], expected, atol=1e-5)


def test_digits_as_numbers_and_as_images(models: dict[str, Any]) -> None:
    raw = read_digits()[0][:4].numpy()
    scaled = np.round(raw.reshape(-1, 8, 8).astype(float) * 255 / 16).astype(np.uint8)
    expected = models["digits"].predict(raw)["probs"]
    assert expected.shape == (4, 10)
    forms: list[Any] = [
        raw.astype(np.float64),
        raw.reshape(-1, 8, 8),
        {"image": raw},
        pd.DataFrame({"image": [b64(png(image)) for image in scaled]}),
        np.array([b64(png(image)) for image in scaled], dtype=object),
    ]
    for form in forms:
        np.testing.assert_allclose(models["digits"].predict(form)["probs"], expected, atol=1e-6)


def test_molecules(models: dict[str, Any], model_store: ModelStore) -> None:
    answer = models["molecules"].predict(pd.DataFrame({"smiles": ["CCO", "c1ccccc1O"]}))
    champion = load_champion("molecules", runs=model_store.root, device="cpu")
    expected = champion.predict_probs(["CCO", "c1ccccc1O"])
    np.testing.assert_allclose(answer["probs"], expected, atol=1e-6)
    assert answer["label"].tolist() == (expected > 0.5).astype(int).tolist()
    assert answer["class_name"][0].split(", ")[0] in champion.class_names


def test_masks_tell_what_is_padding(models: dict[str, Any]) -> None:
    images = [np.full(shape, 90, np.uint8) for shape in ((64, 64, 3), (16, 32, 3))]
    frame = pd.DataFrame({"image": [png(image) for image in images]})
    label = models["digit-scenes"].predict(frame)["label"]
    assert (label.shape, label.dtype) == ((2, 64, 64), np.int64)
    assert label[0].max() < 6
    assert label[1, :16, :32].max() < 6
    assert (label[1, 16:] == 255).all()
    assert (label[1, :, 32:] == 255).all()


@pytest.mark.parametrize(
    ("name", "sent", "told"),
    [
        ("colours", pd.DataFrame({"image": [b64(b"hello"), "%%"]}), "2 of 2 inputs"),
        ("colours", pd.DataFrame({"image": ["/etc/passwd"]}), "no base64"),
        ("colours", pd.DataFrame({"image": [None]}), "must be an image in base64"),
        ("colours", pd.DataFrame({"picture": ["x"]}), "missing inputs"),
        ("molecules", pd.DataFrame({"smiles": ["C(("]}), "no valid SMILES"),
        ("molecules", pd.DataFrame({"smiles": [3]}), "string"),
        ("digits", np.full((1, 64), 17), "must be in 0..16"),
        ("digits", np.zeros((1, 63)), "must have 64 numbers"),
        ("digits", np.array([Path("/etc/passwd")], dtype=object), "got a PosixPath"),
        ("digits", np.zeros((0, 64)), "no inputs"),
    ],
)
def test_bad_inputs_are_the_clients_mistake(
    models: dict[str, Any], name: str, sent: Any, told: str
) -> None:
    with pytest.raises(MlflowException, match=told) as failure:
        models[name].predict(sent)
    assert failure.value.get_http_status_code() == 400
    assert "Traceback" not in failure.value.serialize_as_json()


def test_a_failing_model_is_the_servers_mistake_and_shows_no_stack(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "energytune.serving.predictor.Predictor.probs", lambda *_: [][1], raising=True
    )
    with pytest.raises(MlflowException, match="The model failed: IndexError") as failure:
        models["digits"].predict(np.zeros((1, 64)))
    assert failure.value.get_http_status_code() == 500
    assert "Traceback" not in failure.value.serialize_as_json()


@pytest.mark.parametrize("name", ["digits", "colours", "molecules", "digit-scenes"])
def test_the_input_example_is_small_valid_and_fits_the_signature(
    models: dict[str, Any], model_store: ModelStore, name: str, tmp_path: Path
) -> None:
    with global_uri(model_store.uri):
        folder = Path(download_artifacts(f"models:/energytune-{name}@champion", dst_path=tmp_path))
    for file in ("input_example.json", "serving_input_example.json"):
        assert (folder / file).stat().st_size < 3000
    example = Model.load(str(folder)).load_input_example(str(folder))
    answer = models[name].predict(example)
    assert set(answer) == set(models[name].metadata.get_output_schema().input_names())
    serving = json.loads((folder / "serving_input_example.json").read_text())
    assert set(serving) <= {"inputs", "dataframe_split"}
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pt", ".pth")]
