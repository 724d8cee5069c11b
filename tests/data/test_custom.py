import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from energytune.config import InputConfig
from energytune.data import DatasetSplit, TensorSplit, splits_from_datasets
from energytune.data import custom as custom_module
from energytune.errors import DataError

CONFIG = InputConfig(size=(3, 16, 16))


def vectors(n: int, seed: int, n_classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 5, generator=generator), torch.arange(n) % n_classes)


class Bytes(Dataset):
    """8-bit pictures as PIL images."""

    classes = ("ant", "bee", "cow")

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pixels = rng.integers(0, 256, (n, 20, 20, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index):
        return Image.fromarray(self.pixels[index]), index % 3


def test_tensors_stay_in_memory_as_they_are():
    train = vectors(30, 0)
    splits = splits_from_datasets(train, vectors(9, 1), vectors(12, 2), name="mine")
    assert isinstance(splits.train, TensorSplit)
    assert torch.equal(splits.train.images, train.tensors[0])
    assert torch.equal(splits.train.targets, train.tensors[1])
    assert (len(splits.valid), len(splits.test)) == (9, 12)
    assert splits.task.n_classes == 3
    assert splits.class_names == ("0", "1", "2")
    assert splits.name == "mine"
    assert splits.protocol.startswith("mine: accuracy on 9 valid")


def test_pictures_pass_the_backbones_transforms():
    splits = splits_from_datasets(
        Bytes(12, 0), Bytes(6, 1), Bytes(6, 2), input_config=CONFIG, loader_workers=0
    )
    assert isinstance(splits.train, DatasetSplit)
    assert splits.class_names == ("ant", "bee", "cow")
    plain = torch.cat([x for x, _ in splits.train.batches(5)])
    augmented = torch.cat([x for x, _ in splits.train.batches(5, augment=True, seed=1)])
    assert plain.shape == augmented.shape == (12, 3, 16, 16)
    assert not torch.equal(plain, augmented)


def test_pictures_for_ones_own_network_are_scaled_and_kept():
    splits = splits_from_datasets(Bytes(12, 0), Bytes(6, 1), Bytes(6, 2))
    assert isinstance(splits.train, TensorSplit)
    expected = torch.from_numpy(Bytes(12, 0).pixels).permute(0, 3, 1, 2) / 255.0
    assert torch.equal(splits.train.images, expected)


def test_what_does_not_fit_in_memory_is_read_when_needed(monkeypatch):
    small = splits_from_datasets(vectors(30, 0), vectors(9, 1), vectors(9, 2))
    monkeypatch.setattr(custom_module, "_IN_MEMORY_BYTES", 100)
    large = splits_from_datasets(vectors(30, 0), vectors(9, 1), vectors(9, 2), loader_workers=0)
    assert isinstance(large.train, DatasetSplit)
    images = torch.cat([x for x, _ in large.train.batches(7)])
    assert torch.equal(images, small.train.images)
    assert large.fingerprint == small.fingerprint


def test_without_valid_a_fifth_of_each_class_is_cut_by_content():
    train = vectors(60, 0)
    splits = splits_from_datasets(train, None, vectors(9, 2))
    assert torch.bincount(splits.valid.targets).tolist() == [4, 4, 4]
    assert torch.bincount(splits.train.targets).tolist() == [16, 16, 16]
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = TensorDataset(*(tensor[order] for tensor in train.tensors))
    again = splits_from_datasets(shuffled, None, vectors(9, 2))
    rows = [{tuple(r) for r in s.valid.images.tolist()} for s in (splits, again)]
    assert rows[0] == rows[1]


def test_pictures_without_valid():
    splits = splits_from_datasets(
        Bytes(30, 0), None, Bytes(6, 2), input_config=CONFIG, loader_workers=0
    )
    assert (len(splits.train), len(splits.valid)) == (24, 6)
    assert next(splits.valid.batches(6))[0].shape == (6, 3, 16, 16)


def test_fingerprint_follows_content_transforms_and_nothing_else():
    def fingerprint(train=None, test=None, **kwargs):
        return splits_from_datasets(
            train or Bytes(12, 0), Bytes(6, 1), test or Bytes(6, 2), loader_workers=0, **kwargs
        ).fingerprint

    base = fingerprint()
    assert fingerprint(name="another") == base
    touched = Bytes(12, 0)
    touched.pixels[3, 2, 1, 0] ^= 1
    prints = {
        base,
        fingerprint(train=touched),
        fingerprint(test=Bytes(6, 5)),
        fingerprint(input_config=CONFIG),
        fingerprint(input_config=InputConfig(size=(3, 24, 24))),
    }
    assert len(prints) == 5


def test_folder_datasets_are_addressed_by_their_files(tmp_path):
    from torchvision.datasets import ImageFolder

    pictures = Bytes(12, 0)
    for index in range(12):
        path = tmp_path / pictures.classes[index % 3] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        pictures[index][0].save(path)
    folder = ImageFolder(str(tmp_path))
    splits = splits_from_datasets(folder, None, folder, input_config=CONFIG, loader_workers=0)
    assert splits.class_names == pictures.classes
    assert (len(splits.train), len(splits.valid)) == (9, 3)
    (tmp_path / "ant" / "0.png").write_bytes((tmp_path / "bee" / "1.png").read_bytes())
    changed = splits_from_datasets(folder, None, folder, input_config=CONFIG, loader_workers=0)
    assert changed.hashes["test"] != splits.hashes["test"]


def test_files_that_are_gone_or_broken_are_named(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    for index in range(6):
        path = tmp_path / "abc"[index % 3] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Bytes(6, 0)[index][0].save(path)
    plain, changed = ImageFolder(str(tmp_path)), ImageFolder(str(tmp_path), ToTensor())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=rf"Sample 5 of .* \({path}\) can't be read as"):
        splits_from_datasets(changed, None, changed)
    path.unlink()
    with pytest.raises(DataError, match=rf"Sample 5 of .* \({path}\) can't be read: No such file"):
        splits_from_datasets(plain, None, plain)


def test_random_transforms_in_a_dataset_are_refused():
    class Random(Bytes):
        def __getitem__(self, index):
            return torch.rand(3, 16, 16), index % 3

    with pytest.raises(DataError, match=r"Sample 0 of the train split.*random transforms"):
        splits_from_datasets(Random(12, 0), Bytes(6, 1), Bytes(6, 2))


def broken(images=None, targets=None) -> TensorDataset:
    return TensorDataset(
        torch.zeros(6, 5) if images is None else images,
        torch.arange(6) % 3 if targets is None else targets,
    )


NAN = torch.full((6, 5), float("nan"))


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"train": broken(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64))}, "Empty split"),
        ({"test": broken(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64))}, "Empty split"),
        ({"train": broken(targets=torch.ones(6, dtype=torch.int64))}, "One class only"),
        ({"valid": broken(targets=torch.full((6,), 3))}, "Labels out of range.*valid split"),
        ({"test": broken(targets=torch.full((6,), -1))}, "Labels out of range.*test split"),
        ({"train": broken(NAN)}, "Non-finite pixels: the train split"),
        ({"test": broken(NAN)}, "Non-finite pixels: the test split"),
        ({"train": broken(targets=torch.rand(6))}, "whole numbers"),
        ({"train": 5}, "map-style dataset"),
        ({"train": [torch.zeros(5)] * 6}, r"can't be read as \(image, class index\)"),
        ({"train": [("a.png", 0), ("b.png", 1)]}, "got a str"),
        ({"train": [(torch.zeros(5), 0), (torch.zeros(6), 1)]}, "must be of one size"),
    ],
)
def test_bad_data_are_told(kwargs, told):
    datasets = {"train": broken(), "valid": broken(), "test": broken(), **kwargs}
    with pytest.raises(DataError, match=told):
        splits_from_datasets(*datasets.values())


@pytest.mark.parametrize("input_config", [None, CONFIG])
def test_sample_that_is_no_image_is_named(input_config):
    train = [(torch.zeros(3, 16, 16), 0), ("b.png", 1)]
    with pytest.raises(DataError, match=r"Sample 1 of the train split.*got a str"):
        splits_from_datasets(train, train, train, input_config=input_config)


def test_given_number_of_classes_is_held():
    with pytest.raises(DataError, match=r"\[0, 1\] \(2 classes\)"):
        splits_from_datasets(broken(), broken(), broken(), n_classes=2)
    assert splits_from_datasets(broken(), None, broken(), n_classes=7).task.n_classes == 7
