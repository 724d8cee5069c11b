import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from energytune.config import InputConfig
from energytune.data import DatasetSplit
from energytune.data.dataset_split import default_loader_workers
from energytune.data.targets import collect_targets
from energytune.data.transforms import EvalTransform, TrainTransform
from energytune.errors import DataError

CONFIG = InputConfig(size=(3, 16, 16))


class Pictures(Dataset):
    """24 random pictures; ``breaks`` maps an index to what is given in its place."""

    def __init__(self, breaks=None) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (24, 20, 20, 3), dtype=np.uint8)
        self.targets = [index % 3 for index in range(24)]
        self.breaks = breaks or {}

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index):
        image = self.breaks.get(index, self.pixels[index])
        if isinstance(image, Exception):
            raise image
        return image, self.targets[index]


def make(workers: int = 0, dataset=None) -> DatasetSplit:
    return DatasetSplit(
        dataset or Pictures(), EvalTransform(CONFIG), TrainTransform(CONFIG), workers, name="pets"
    )


def read(split, **kwargs):
    images, targets = zip(*split.batches(5, **kwargs), strict=True)
    return torch.cat(images), torch.cat(targets)


def test_batches_follow_the_order():
    split = make()
    images, targets = read(split)
    assert images.shape == (24, 3, 16, 16)
    assert images.dtype == torch.float32
    assert targets.tolist() == [index % 3 for index in range(24)]
    order = torch.tensor([5, 0, 23, 5, 7, 1, 2])
    some, some_targets = read(split, order=order)
    assert torch.equal(some, images[order])
    assert torch.equal(some_targets, targets[order])


def test_augmentation_depends_on_seed_and_index_only():
    split = make()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    straight, _ = read(split, augment=True, seed=7)
    shuffled, _ = read(split, order=order, augment=True, seed=7)
    assert torch.equal(shuffled, straight[order])
    assert not torch.equal(read(split, augment=True, seed=8)[0], straight)
    assert not torch.equal(read(split)[0], straight)
    assert torch.equal(read(split)[0], read(split, seed=9)[0])  # no augmentation: no seed


@pytest.mark.integration
def test_worker_processes_change_nothing_and_are_kept():
    alone, helped = make(0), make(2)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        for a, b in zip(
            read(alone, order=order, augment=True, seed=seed),
            read(helped, order=order, augment=True, seed=seed),
            strict=True,
        ):
            assert torch.equal(a, b)
    loader = helped._loaders[False]
    assert [len(t) for _, t in helped.batches(20)] == [20, 4]
    assert helped._loaders[False] is loader
    next(iter(helped.batches(2)))  # left early: the next iteration starts afresh
    assert torch.equal(read(helped)[0], read(alone)[0])


@pytest.mark.integration
def test_errors_keep_their_type_and_brevity_across_processes():
    before = set(multiprocessing.active_children())
    with pytest.raises(DataError) as caught:
        read(make(2, Pictures({7: OSError("truncated")})))
    assert str(caught.value) == "Sample 7 of pets can't be read: OSError: truncated"
    assert set(multiprocessing.active_children()) <= before  # though the traceback is still held


def test_two_iterations_at_once_do_not_disturb_each_other():
    split = make()
    pairs = list(zip(split.batches(6), split.batches(6), strict=True))
    assert len(pairs) == 4
    assert all(torch.equal(a[0], b[0]) for a, b in pairs)


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    read(make(), augment=True, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_image_is_named(value):
    bad = torch.zeros(3, 16, 16)
    bad[0, 3, 3] = value
    with pytest.raises(DataError, match="Sample 11 of pets holds NaN or infinity"):
        read(make(dataset=Pictures({11: bad})))


def test_huge_finite_values_are_no_false_alarm():
    huge = torch.full((3, 16, 16), 3e38)
    images, _ = read(make(dataset=Pictures({11: huge})))
    assert torch.equal(images[11], huge)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (ValueError("no such file"), "can't be read: ValueError: no such file"),
        ("a path", "is unusable: An image must be"),
        (torch.zeros(3, 8, 8), r"has the shape \(3, 8, 8\), another one \(3, 16, 16\)"),
    ],
)
def test_bad_sample_is_named(image, told):
    with pytest.raises(DataError, match=f"Sample 11 of pets {told}"):
        read(make(dataset=Pictures({11: image})))


@pytest.mark.parametrize("attribute", ["samples", "_samples", "_image_files", "path"])
def test_file_of_a_bad_sample_is_named(attribute):
    pictures = Pictures({11: OSError("truncated")})
    if attribute == "path":
        pictures.path = lambda index: f"/pets/{index}.png"
    elif attribute == "_image_files":
        pictures._image_files = [f"/pets/{index}.png" for index in range(24)]
    else:
        setattr(pictures, attribute, [(f"/pets/{index}.png", 0) for index in range(24)])
    with pytest.raises(DataError) as caught:
        read(make(dataset=Subset(pictures, list(range(5, 24)))))
    assert str(caught.value) == (
        "Sample 6 of pets (/pets/11.png) can't be read: OSError: truncated. Repair or remove that "
        "file."
    )


@pytest.mark.parametrize("strange", [5, "abc", [], [3], {"a": 1}])
def test_attributes_of_another_meaning_do_no_harm(strange):
    pictures = Pictures({11: OSError("truncated")})
    pictures.samples = pictures.path = strange
    with pytest.raises(DataError) as caught:
        read(make(dataset=pictures))
    assert str(caught.value) == "Sample 11 of pets can't be read: OSError: truncated"


def test_targets_are_collected_without_reading_images():
    unreadable = Pictures({index: OSError("read") for index in range(24)})
    assert make(dataset=unreadable).targets.tolist() == unreadable.targets
    half = Subset(unreadable, [3, 1, 2])
    assert collect_targets(half, "pets").tolist() == [0, 1, 2]
    unreadable.labels, unreadable.targets = np.arange(24), None
    assert collect_targets(unreadable, "pets").tolist() == list(range(24))


def test_targets_that_are_transformed_are_read():
    class Doubled(Pictures):
        target_transform = staticmethod(lambda target: 2 * target)

        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            return image, 2 * target

    assert collect_targets(Doubled(), "pets").tolist() == [2 * (i % 3) for i in range(24)]


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ([0.5] * 24, r"sample 0 has 0.5"),
        ([0] * 23 + ["cat"], "sample 23 has 'cat'"),
        (torch.zeros(24), "torch.float32"),
        (np.zeros((24, 2), dtype=np.int64), r"\(24, 2\)"),
    ],
)
def test_targets_must_be_class_indices(targets, told):
    dataset = Pictures()
    dataset.targets = targets
    with pytest.raises(DataError, match=f"Targets of pets must be whole numbers.*{told}"):
        make(dataset=dataset)


def test_split_travels_without_its_loader():
    split = make()
    read(split)
    again = pickle.loads(pickle.dumps(split))
    assert torch.equal(read(again)[0], read(split)[0])


def test_no_loader_processes_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_loader_workers() == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert 0 <= default_loader_workers() <= 8
