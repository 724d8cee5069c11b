"""The same raw input gives the same tensor as the loader of each family, bit for bit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from energytune.config import InputConfig
from energytune.data import Split, Splits, load_dataset, scenes, splits_from_datasets
from energytune.data.dataset_split import file_of
from energytune.data.digits_source import read_digits
from energytune.data.embedded import EMBEDDED_NAMES, _parts, _transfer
from energytune.data.input_images import ImageInputs
from energytune.data.preprocessing import Preprocessing, make_preprocessing
from energytune.errors import ConfigError, DataError
from tests.data.voc_files import write_voc
from tests.registered import png, write_colours

CONFIG = InputConfig((3, 24, 32), interpolation="bilinear", crop_pct=0.9)


def preprocessing_of(splits: Splits, input_shape: tuple[int, ...] | None = None) -> Preprocessing:
    """Makes it from what has been JSON in between, as in a registered model."""
    return make_preprocessing(json.loads(json.dumps(dict(splits.preprocessing))), input_shape)


def prepared(inputs: Preprocessing, raws: Any) -> Tensor:
    return inputs.stack([inputs.prepare(raw) for raw in raws])


def all_inputs(split: Split) -> Tensor:
    return torch.cat([images for images, _ in split.batches(7)])


@pytest.mark.parametrize("name", EMBEDDED_NAMES)
def test_digits(name: str) -> None:
    splits, transfer = load_dataset(name), _transfer(name)
    pixels, digits = read_digits()
    changed = pixels if transfer.change is None else transfer.change(pixels)
    raws = changed[_parts(transfer, digits)["valid"]].numpy()
    inputs = preprocessing_of(splits)
    expected = all_inputs(splits.valid)
    assert torch.equal(prepared(inputs, raws), expected)
    assert torch.equal(prepared(inputs, raws.reshape(-1, 8, 8).tolist()), expected)
    # a picture of a digit: 255 is a full pixel
    scaled = np.round(raws.reshape(-1, 8, 8).astype(float) * 255 / 16).astype(np.uint8)
    seen = prepared(inputs, [png(image) for image in scaled])
    assert (seen - expected).abs().max() < (1e-6 if name != "digits-rotated" else 0.011)


def test_a_large_picture_of_a_digit_is_averaged_as_the_digits_were() -> None:
    inputs = preprocessing_of(load_dataset("digits"))
    ink = np.random.default_rng(0).integers(0, 2, (32, 32), dtype=np.uint8)
    counts = ink.reshape(8, 4, 8, 4).sum(axis=(1, 3))
    seen = inputs.prepare(Image.fromarray(ink * 255).convert("RGB"))
    assert seen.view(8, 8).tolist() == counts.tolist()


def test_digit_scenes() -> None:
    splits = load_dataset("digit-scenes")
    pixels, digits = read_digits()
    canvases = scenes._downstream_canvases(digits)["valid"]
    images, _ = scenes._draw(pixels, digits, canvases, "valid")
    raws = [png(image.permute(1, 2, 0).numpy()) for image in images[:20]]
    assert torch.equal(prepared(preprocessing_of(splits), raws), all_inputs(splits.valid)[:20])


def test_folders_of_images(tmp_path: Path) -> None:
    write_colours(tmp_path)
    splits = load_dataset(f"folder:{tmp_path}", input_config=CONFIG, loader_workers=0)
    split: Any = splits.test.open("test")
    files = [file_of(split._items.dataset, index) for index in range(len(split))]
    assert {file.suffix for file in files if file} == {".png", ".jpg", ".bmp"}
    inputs, expected = preprocessing_of(splits), all_inputs(split)
    assert torch.equal(prepared(inputs, files), expected)
    assert torch.equal(prepared(inputs, [file.read_bytes() for file in files if file]), expected)
    # what an exported model takes, scaled and normalised by hand
    assert isinstance(inputs, ImageInputs)
    cut = torch.from_numpy(np.stack([inputs.pixels(file) for file in files]))
    scaled = cut.permute(0, 3, 1, 2).float() / 255
    by_hand = (scaled - torch.tensor(CONFIG.mean).view(3, 1, 1)) / torch.tensor(CONFIG.std).view(
        3, 1, 1
    )
    assert torch.allclose(by_hand, expected, atol=1e-6)


def test_images_with_masks(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "VOCdevkit" / "VOC2012", size=(40, 30))
    for config in (InputConfig((3, 48, 64)), InputConfig((3, 16, 16))):  # padded; made smaller
        splits = load_dataset("voc2012", data_root=tmp_path, input_config=config, loader_workers=0)
        files = sorted((voc / "JPEGImages").glob("2007_val_*.jpg"))
        inputs = preprocessing_of(splits)
        assert torch.equal(prepared(inputs, files), all_inputs(splits.test.open("test")))
        assert isinstance(inputs, ImageInputs)
        image = inputs.prepare(files[0])
        assert image.size == (40, 30)
        whole = np.zeros(config.size[1:], np.uint8)
        height, width = inputs.covered(image)
        assert (height, width) == ((30, 40) if config.size[1] == 48 else (12, 16))
        whole[:height, : width // 2], whole[height:], whole[:, width:] = 7, 9, 9
        restored = inputs.restore(whole, image)
        assert restored.shape == (30, 40)
        assert restored[:, :20].tolist() == np.full((30, 20), 7).tolist()
        assert not restored[:, 20:].any()


def test_molecules(tmp_path: Path) -> None:
    smiles = ["C", "CCO", "c1ccccc1", "CC(=O)O", "N#N", "CS(=O)(=O)C", "[Na+].[Cl-]", "C1CC1"] * 5
    rows = [f"{text},{i % 2}" for i, text in enumerate(smiles)]
    table = tmp_path / "some.csv"
    parts = ["train", "train", "valid", "test"]
    rows = [f"{row},{parts[i % 4]}" for i, row in enumerate(rows)]
    # both classes in each part
    rows = [row if i < 20 else _turned(row) for i, row in enumerate(rows)]
    table.write_text("\n".join(["smiles,toxic,split", *rows]))
    splits = load_dataset(f"csv:{table}")
    inputs = preprocessing_of(splits)
    valid = [text for i, text in enumerate(smiles) if i % 4 == 2]
    assert torch.equal(prepared(inputs, valid), all_inputs(splits.valid))
    large = inputs.stack([inputs.prepare("CCO"), inputs.prepare("C" * 30)])
    assert large.shape[1] == 30


def _turned(row: str) -> str:
    text, label, part = row.rsplit(",", 2)
    return f"{text},{1 - int(label)},{part}"


class Pictures:
    """8-bit pictures as PIL images or arrays."""

    classes = ("ant", "bee")

    def __init__(self, n: int, seed: int, grey: bool = False) -> None:
        shape = (n, 20, 26) if grey else (n, 20, 26, 3)
        self.pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.fromarray(self.pixels[index]), index % 2


@pytest.mark.parametrize("config", [CONFIG, None])
@pytest.mark.parametrize("grey", [False, True])
def test_a_users_pictures(config: InputConfig | None, grey: bool) -> None:
    given = [Pictures(6, seed, grey) for seed in range(3)]
    splits = splits_from_datasets(*given, input_config=config, loader_workers=0)
    inputs = preprocessing_of(splits)
    assert torch.equal(prepared(inputs, given[1].pixels), all_inputs(splits.valid))
    if config is None:
        with pytest.raises(DataError, match="but this model takes"):
            inputs.prepare(np.zeros((5, 5, 3), np.uint8))


def test_a_users_tensors_come_ready() -> None:
    sets = [TensorDataset(torch.randn(6, 5), torch.arange(6) % 2) for _ in range(3)]
    splits = splits_from_datasets(*sets)
    assert splits.preprocessing == {}
    inputs = preprocessing_of(splits, (5,))
    assert torch.equal(prepared(inputs, sets[1].tensors[0]), all_inputs(splits.valid))
    with pytest.raises(DataError, match=r"of shape \(5,\); got \(4,\)"):
        inputs.prepare([1, 2, 3, 4])
    with pytest.raises(DataError, match="NaN or infinity"):
        inputs.prepare([1, 2, 3, 4, float("nan")])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([17] + [0] * 63, r"0 to 17, but must be in 0..16"),
        ([-1.5] + [0] * 63, "not standardised"),
        ([0] * 63, r"shape \(63,\), but must have 64 numbers or 8 x 8"),
        (["x"] * 64, "array of numbers"),
        (b"no image", "no image of the formats"),
    ],
)
def test_wrong_pixels_say_why(raw: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        preprocessing_of(load_dataset("digits")).prepare(raw)


@pytest.mark.parametrize("raw", ["C(((", "", 3, "C" * 2001])
def test_wrong_smiles_say_why(raw: Any) -> None:
    description = {"kind": "smiles", "n_slots": 4, "n_neighbours": 4, "vocabulary": "ogb-1"}
    with pytest.raises(DataError, match=r"no valid SMILES|SMILES text|2,001 atoms"):
        make_preprocessing(description).prepare(raw)


@pytest.mark.parametrize(
    "description",
    [
        {"kind": "sound"},
        {"kind": "image"},
        {"kind": "image", "geometry": "bent", "size": [3, 4, 4]},
        {"kind": "pixels", "side": 8},
        {"kind": "smiles", "n_slots": 4, "n_neighbours": 4, "vocabulary": "ogb-2"},
    ],
)
def test_a_description_that_is_not_understood_is_an_error(description: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"can't be read: .* upgrade it"):
        make_preprocessing(description)


def test_an_image_that_comes_ready_passes() -> None:
    inputs = make_preprocessing(
        {"kind": "image", "geometry": "crop", "size": [3, 4, 4], "mean": [0, 0, 0]}
        | {"std": [1, 1, 1], "interpolation": "bicubic", "crop_pct": 1.0}
    )
    ready = torch.randn(3, 4, 4)
    assert torch.equal(inputs.stack([inputs.prepare(ready)])[0], ready)
    with pytest.raises(DataError, match="NaN"):
        inputs.prepare(torch.full((3, 4, 4), float("nan")))


def test_a_file_object_of_a_picture_is_no_raw_input() -> None:
    inputs = preprocessing_of(load_dataset("digits"))
    with pytest.raises(DataError, match="array of numbers, got a BytesIO"):
        inputs.prepare(io.BytesIO(b""))
