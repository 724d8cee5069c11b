"""A registered model predicts from raw inputs what its network says of the loader's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from energytune import load_champion
from energytune.data.digits_source import read_digits
from energytune.errors import CheckpointError, ConfigError, DataError, ResourceError
from energytune.serving import Predictor, open_folder, open_weights_file
from energytune.serving.device import choose_device
from tests.registered import ModelStore, png

pytestmark = pytest.mark.integration  # the store is a real registry


@pytest.fixture(scope="module")
def predictors(model_store: ModelStore) -> dict[str, Predictor]:
    return {
        name: load_champion(name, runs=model_store.root, device="cpu")
        for name in model_store.models
    }


def files(store: ModelStore) -> list[Path]:
    return sorted(path for path in (store.colours / "test").rglob("*") if path.is_file())


def test_the_champion_says_what_it_is(
    predictors: dict[str, Predictor], model_store: ModelStore
) -> None:
    digits = predictors["digits"]
    assert (digits.name, digits.version, digits.kind) == ("energytune-digits", 1, "classes")
    assert digits.class_names == tuple("0123456789")
    assert (digits.score, digits.recipe["tau"], digits.dataset) == (0.9, 9, "digits")
    assert predictors["molecules"].kind == "labels"
    assert predictors["digit-scenes"].kind == "pixels"
    assert "energytune-digits v1, classes, cpu" in repr(digits)
    second = load_champion("energytune-digits", version=2, tracking_uri=model_store.uri)
    assert (second.version, second.score) == (2, 0.5)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_images_are_classified_as_the_network_does_after_the_loader(
    predictors: dict[str, Predictor], model_store: ModelStore, batch_size: int
) -> None:
    made, colours = model_store.models["colours"], predictors["colours"]
    split: Any = made.splits.test.open("test")
    inputs = torch.cat([images for images, _ in split.batches(8)])
    with torch.inference_mode():
        expected = torch.softmax(made.model(inputs), dim=1).numpy()
    paths = files(model_store)
    probs = colours.predict_probs(paths, batch_size=batch_size)
    order = np.argsort([str(path.relative_to(model_store.colours / "test")) for path in paths])
    assert order.tolist() == list(range(len(paths)))
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    predictions = colours.predict(paths, top_k=2, batch_size=batch_size)
    assert [p.labels[0] for p in predictions] == expected.argmax(1).tolist()
    for prediction, row in zip(predictions, expected, strict=True):
        assert prediction.top[0] == pytest.approx((prediction.class_name, row.max()), abs=1e-5)
        assert len(prediction.top) == 2
        assert prediction.to_dict()["probability"] == pytest.approx(row.max(), abs=1e-5)


def test_one_image_in_every_form(predictors: dict[str, Predictor], model_store: ModelStore) -> None:
    colours, path = predictors["colours"], files(model_store)[0]
    picture = Image.open(path)
    forms: list[Any] = [path, str(path), path.read_bytes(), picture, [np.array(picture)]]
    forms.append([torch.from_numpy(np.array(picture)).permute(2, 0, 1)])
    probs = [colours.predict_probs(form) for form in forms]
    assert all(p.shape == (1, 3) for p in probs)
    assert all(np.array_equal(p, probs[0]) for p in probs)
    assert colours.predict_probs([]).shape == (0, 3)
    assert colours.predict([]) == []


def test_digits_as_numbers_and_pictures(predictors: dict[str, Predictor]) -> None:
    raw = read_digits()[0][:5].numpy()
    scaled = np.round(raw.reshape(-1, 8, 8).astype(float) * 255 / 16).astype(np.uint8)
    expected = predictors["digits"].predict_probs(raw)
    assert expected.shape == (5, 10)
    np.testing.assert_allclose(expected.sum(1), 1, atol=1e-6)
    seen = predictors["digits"].predict_probs([png(image) for image in scaled])
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_molecules(predictors: dict[str, Predictor]) -> None:
    molecules = predictors["molecules"]
    ethanol, long = molecules.predict(["CCO", "C" * 60])
    probs = molecules.predict_probs(["CCO"])[0]  # padded otherwise than beside a large one
    np.testing.assert_allclose(ethanol.probs, probs, atol=1e-6)
    assert ethanol.labels == tuple(np.flatnonzero(probs > 0.5))
    assert len(ethanol.top) == len(molecules.class_names) == 12
    assert set(ethanol.to_dict()) == {"class_names", "labels", "top"}
    assert long.kind == "labels"


def test_masks_have_the_size_of_the_image(predictors: dict[str, Predictor]) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((64, 64), (20, 90))]
    whole, wide = predictors["digit-scenes"].predict(images)
    assert whole.mask is not None
    assert wide.mask is not None
    assert (whole.mask.shape, wide.mask.shape) == ((64, 64), (20, 90))
    probs = predictors["digit-scenes"].predict_probs(images)
    assert probs.shape == (2, 6, 64, 64)
    assert np.array_equal(whole.mask, probs[0].argmax(0))
    shares = dict(whole.top)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert shares[whole.class_names[0]] == max(shares.values())


def test_all_bad_inputs_are_told_at_once(
    predictors: dict[str, Predictor], model_store: ModelStore
) -> None:
    good = files(model_store)[0]
    bad = [good, b"hello", good, "/no/such/file.png", 3.0]
    for call in (predictors["colours"].predict, predictors["colours"].predict_probs):
        with pytest.raises(DataError) as told:
            call(bad, batch_size=2)
        lines = str(told.value).splitlines()
        assert lines[0] == "3 of 5 inputs can't be used:"
        assert [line.split(":")[0].strip() for line in lines[1:]] == [
            "input 1",
            "input 3",
            "input 4",
        ]
    with pytest.raises(DataError, match=r"The input can't be used\. input 0: it is no image"):
        predictors["colours"].predict(b"hello")
    with pytest.raises(DataError, match="a list or an array, got a int"):
        predictors["colours"].predict(3)


def test_wrong_numbers_are_refused(predictors: dict[str, Predictor]) -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        predictors["molecules"].predict(["C"], batch_size=0)
    with pytest.raises(ConfigError, match="top_k must be at least 1, got 0"):
        predictors["molecules"].predict(["C"], top_k=0)


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto") == choose_device(None)
    with pytest.raises(ConfigError, match="Unknown device 'gpu'"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match="must be cpu or cuda"):
        choose_device("meta")
    with pytest.raises(ResourceError, match="no device 'cuda:99'"):
        choose_device("cuda:99")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="can't be opened"):
        open_folder(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="no model that energytune has exported"):
        open_weights_file(tmp_path / "x.safetensors")
