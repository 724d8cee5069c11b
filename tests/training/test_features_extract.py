from __future__ import annotations

import pytest
import torch
from torch import nn

from energytune.errors import DataError
from energytune.models import TaskModel
from energytune.models.cut import NoTail
from energytune.seeds import derive_seed
from energytune.training.features_extract import extract_features, stream_features
from energytune.training.features_layer import first_non_finite_layer

CPU = torch.device("cpu")


class Broken(nn.Module):
    """Gives infinity where the first number is above 9."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x[:, :1] <= 9).float()


def network(*layers: nn.Module) -> TaskModel:
    module = nn.Sequential(nn.Identity(), *layers)
    return TaskModel(module, nn.Linear(64, 3), cut=NoTail(module), spec={})


class Flipping:
    """A split whose augmentation adds the low digits of its seed, and that notes how it is read."""

    def __init__(self, split) -> None:
        self.split, self.reads = split, []

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size, *, order=None, augment=False, seed=0):
        self.reads.append((augment, seed))
        for images, targets in self.split.batches(batch_size, order=order):
            yield images + (seed % 7 if augment else 0), targets


def test_features_do_not_depend_on_the_batch_size(make_model, valid) -> None:
    model = make_model()
    small = extract_features(model, valid, batch_size=7, device=CPU)
    large = extract_features(model, valid, batch_size=1000, device=CPU)
    assert small.shape == (40, 128)
    torch.testing.assert_close(small, large, rtol=0, atol=1e-5)
    assert not small.requires_grad
    parts = list(stream_features(model, valid, batch_size=7, device=CPU))
    assert [len(part) for part in parts] == [7, 7, 7, 7, 7, 5]
    assert torch.equal(torch.cat(parts), small)


@pytest.mark.parametrize("depth", [0, 2])
def test_features_are_those_at_the_cut(make_model, valid, depth) -> None:
    model = make_model(depth=depth)
    features = extract_features(model, valid, batch_size=40, device=CPU)
    with torch.no_grad():
        torch.testing.assert_close(model.from_features(features), model(valid.images))


def test_batch_norm_and_dropout_neither_drift_nor_draw(valid, same_tensors) -> None:
    module = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    model = TaskModel(module, nn.Linear(8, 3), cut=NoTail(module), spec={})
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    first = extract_features(model, valid, batch_size=16, device=CPU)
    assert torch.equal(first, extract_features(model, valid, batch_size=16, device=CPU))
    assert torch.equal(torch.get_rng_state(), random)
    assert same_tensors(model.state_dict(), before)


def test_a_source_gives_what_the_whole_extraction_gives(make_source, make_model, valid) -> None:
    source = make_source()
    whole = extract_features(make_model(), valid, batch_size=16, device=CPU)
    assert source.item_shape == (128,)
    assert torch.equal(torch.cat(list(source.batches())), whole)
    indices = torch.tensor([39, 0, 0, 7])
    (some,) = source.batches(indices=indices)
    torch.testing.assert_close(some, whole[indices], rtol=0, atol=1e-5)


def test_the_network_is_built_when_it_is_needed_and_once(make_source, make_model) -> None:
    built: list[int] = []

    def make() -> TaskModel:
        built.append(1)
        return make_model().train()

    source = make_source(make_model=make)
    assert built == []
    list(source.batches())
    assert source.item_shape == (128,)
    assert built == [1]
    assert not source.model.training


def test_each_view_has_a_seed_of_its_own(make_source, valid) -> None:
    split = Flipping(valid)
    source = make_source(make_model=network, split=split, n_views=2)
    assert list(source.stored_views) == [0, 1, 2]
    for view in source.stored_views:
        (first, *_) = source.batches(view=view)
        seed = derive_seed("view", view)
        expected = valid.images[:16] + (seed % 7 if view else 0)
        assert torch.equal(first, expected)
    seeds = [seed for augment, seed in split.reads if augment]
    assert len(set(seeds)) == 2
    assert list(make_source().stored_views) == [0]


# features that are not finite


def poisoned(valid, index: int):
    images = valid.images.clamp(-9, 9)
    images[index, 0] = 10.0
    return type(valid)(images, valid.targets)


@pytest.mark.parametrize("index", [0, 21, 39])
def test_the_sample_and_the_layer_are_named(make_source, valid, index) -> None:
    layers = (nn.Sequential(nn.ReLU(), Broken()), nn.ReLU())
    source = make_source(make_model=lambda: network(*layers), split=poisoned(valid, index))
    with pytest.raises(DataError, match=rf"sample {index} of valid, .* 1\.1 \(Broken\)"):
        list(source.batches())
    indices = torch.tensor([3, index])
    with pytest.raises(DataError, match=rf"sample {index} of valid"):
        list(source.batches(indices=indices))


def test_an_input_that_is_not_finite_is_told_apart(make_source, valid) -> None:
    images = valid.images.clone()
    images[5, 5] = float("nan")
    source = make_source(split=type(valid)(images, valid.targets))
    with pytest.raises(DataError, match="Non-finite input: sample 5 of valid"):
        list(source.batches())


def test_a_network_that_breaks_outside_of_its_modules(valid) -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) / 0

    module = Whole()
    model = TaskModel(module, nn.Linear(64, 3), cut=NoTail(module), spec={})
    assert first_non_finite_layer(model, valid.images) == "the backbone itself (Whole)"


def test_a_network_that_breaks_only_now_and_then(make_source) -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n_calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.n_calls += 1
            return x / 0 if self.n_calls == 1 else x

    with pytest.raises(DataError, match="none of its samples alone"):
        list(make_source(make_model=lambda: network(Moody())).batches())


def test_the_look_for_the_layer_leaves_nothing_hooked(valid) -> None:
    model = network(Broken())
    assert first_non_finite_layer(model, valid.images.clamp(-9, 9)) is None
    assert all(not module._forward_hooks for module in model.modules())


def test_large_sums_of_finite_numbers_are_finite_features(make_source, valid) -> None:
    huge = type(valid)(torch.full_like(valid.images, 3e38), valid.targets)
    source = make_source(make_model=network, split=huge)
    assert torch.equal(next(source.batches()), huge.images[:16])


def test_a_batch_without_room_gives_the_same_features_in_pieces(make_source, monkeypatch) -> None:
    whole = torch.cat(list(make_source().batches()))
    source = make_source()
    features = source.model.features

    def cramped(inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return features(inputs)

    monkeypatch.setattr(source.model, "features", cramped)
    torch.testing.assert_close(torch.cat(list(source.batches())), whole)
