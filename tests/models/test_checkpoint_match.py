"""Loading is complete or refused, whatever networks a file holds under whatever names."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from energytune.errors import CheckpointError
from energytune.models import load_checkpoint
from energytune.models.checkpoint_match import names_rejected
from energytune.models.checkpoint_spellings import spellings
from tests.models.checkpoint_makers import bottleneck, vit


class Tiny(nn.Module):
    """A network of eight tensors, each different in every one of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 3)
        self.stages = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 2, generator=generator)


class Network(NamedTuple):
    prefix: tuple[str, ...]
    damage: str
    tensor: int
    seed: int


WORDS = (
    "module", "_orig_mod", "state_dict", "model", "encoder_q", "encoder_k", "base_encoder",
    "momentum_encoder", "online_encoder", "target_encoder", "state_dict_ema", "teacher", "student",
    "backbone", "encoder", "projector", "net", "0", "stem", "weight",
)  # fmt: skip
PREFIXES = st.lists(st.sampled_from(WORDS), max_size=4).map(tuple)
DAMAGES = st.sampled_from(["none", "none", "missing", "shape", "more", "integers", "nan"])
NETWORKS = st.lists(
    st.builds(Network, PREFIXES, DAMAGES, st.integers(0, 6), st.integers(1, 9)),
    min_size=1, max_size=4, unique_by=lambda network: network.prefix,
)  # fmt: skip


def weights_of(network: Network) -> dict[str, Tensor]:
    state = Tiny(network.seed).state_dict()
    name = [n for n in state if "num_batches" not in n][network.tensor]
    if network.damage == "missing":
        del state[name]
    elif network.damage == "shape":
        state[name] = torch.ones(5, 5)
    elif network.damage == "more":
        state["stages.2.weight"] = torch.ones(3, 3)
    elif network.damage == "integers":
        state[name] = state[name].to(torch.int8)
    elif network.damage == "nan":
        state[name] = state[name] * float("nan")
    return dict(state)


def nested(tensors: dict[str, Tensor], n_levels: int) -> dict[str, Any]:
    """The same tensors, the first parts of their names as dicts within dicts where they can be."""
    content: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *outer, rest = name.split(".", n_levels)
        inner = content
        for part in outer:
            inner = inner.setdefault(part, {})
            if isinstance(inner, Tensor):  # another network begins within this one's tensor
                return dict(tensors)
        if isinstance(inner.get(rest), dict):
            return dict(tensors)
        inner[rest] = tensor
    return content


@given(networks=NETWORKS, n_levels=st.integers(0, 2), order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=120)
def test_complete_or_refused_never_partial(
    networks: list[Network], n_levels: int, order: Any
) -> None:
    tensors = {}
    for network in networks:
        for name, tensor in weights_of(network).items():
            tensors[".".join([*network.prefix, name])] = tensor
    order.shuffle(names := list(tensors))
    target, before = Tiny(0), Tiny(0).state_dict()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "checkpoint.pth"
        torch.save(nested({name: tensors[name] for name in names}, n_levels), file)
        try:
            info = load_checkpoint(file, target)
        except CheckpointError:
            assert all(torch.equal(t, before[n]) for n, t in target.state_dict().items())
            whole = [n for n in networks if n.damage == "none"]
            alone = len(networks) == 1 and not names_rejected(".".join(networks[0].prefix) + ".")
            assert not (whole and alone), "a single whole network must load"
            return
    assert info.n_loaded == info.n_total
    assert not names_rejected(info.prefix)
    loaded = {f"{info.prefix}{name}": tensor for name, tensor in target.state_dict().items()}
    taken = [n for n in networks if "".join(f"{part}." for part in n.prefix) == info.prefix]
    assert len(taken) == 1
    assert taken[0].damage == "none"
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("net", [bottleneck(0), vit(0)])
def test_spellings_lose_no_name(net: nn.Module) -> None:
    own = net.state_dict()
    tables = spellings(own)
    assert len(tables) > 1
    for names in tables.values():
        assert sorted(names.values()) == sorted(own)


@pytest.mark.parametrize(
    ("prefix", "rejected"),
    [
        ("module.encoder_k.", True),
        ("momentumEncoder.", True),
        ("key_encoder.", True),
        ("f_k.", True),
        ("classy_state_dict.loss.moco_encoder.trunk.", True),
        ("teacher.", False),
        ("module.encoder_q.", False),
        ("keypoints.", False),
        ("", False),
    ],
)
def test_which_networks_are_never_taken_by_themselves(prefix: str, rejected: bool) -> None:
    assert names_rejected(prefix) == rejected
