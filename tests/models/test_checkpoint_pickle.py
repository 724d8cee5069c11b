"""Which classes may lie beside weights, and that none of them is ever made."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections import Counter, OrderedDict, defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from energytune.errors import CheckpointError
from energytune.models.checkpoint_file import read_tensors
from energytune.models.checkpoint_pickle import load_pickled
from tests.models.checkpoint_makers import foreign, hydra_settings, save


def with_attributes(dotted: str, base: type = object, **attributes: Any) -> Any:
    made = foreign(dotted, base)()
    made.__dict__ |= attributes
    return made


SETTINGS: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=0.1, names=["a"]),
    "namespace in itself": argparse.Namespace(inner=argparse.Namespace(path=pathlib.Path("/a"))),
    "path": pathlib.PurePosixPath("/data"),
    "numpy scalar": np.float64(0.5),
    "numpy integer": np.int64(3),
    "numpy array": np.arange(3),
    "numpy type": np.dtype("float32"),
    "ordered": OrderedDict(a=1),
    "counter": Counter("aab"),
    "size": torch.Size([2, 3]),
    "type": torch.float16,
    "device": torch.device("cpu"),
    "class as a key": {foreign("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"): 1},
    "hydra": hydra_settings(),
    "defaultdict": defaultdict(list, a=[1]),
    "lightning": foreign("lightning_fabric.utilities.data.AttributeDict", dict)(lr=0.1),
    "easydict": with_attributes("easydict.EasyDict", dict, lr=0.1),
    "yacs": with_attributes("yacs.config.CfgNode", dict, __immutable__=True),
    "mmengine": with_attributes(
        "mmengine.logging.history_buffer.HistoryBuffer", _log_history=np.ones(2)
    ),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_beside_weights(tmp_path: Path, name: str, legacy: bool) -> None:
    content = {"args": SETTINGS[name], "state_dict": {"weight": torch.ones(2)}, "epoch": 3}
    file = save(content, tmp_path / "last.pth", legacy=legacy)
    assert read_tensors(file).keys() == {"state_dict.weight"}
    assert "omegaconf" not in sys.modules


def test_weights_in_a_dict_of_another_class_are_read(tmp_path: Path) -> None:
    kept = foreign("addict.addict.Dict", dict)(weight=torch.ones(2))
    found = read_tensors(save({"model": kept}, tmp_path / "last.pth"))
    assert torch.equal(found["model.weight"], torch.ones(2))


def test_no_class_of_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    watched = type(
        "Namespace",
        (argparse.Namespace,),
        {"__module__": "argparse", "__setstate__": lambda _, state: made.append(state)},
    )
    monkeypatch.setattr(argparse, "Namespace", watched)
    file = tmp_path / "last.pth"
    torch.save({"args": watched(lr=1), "weight": torch.ones(1)}, file)
    assert read_tensors(file).keys() == {"weight"}
    assert made == []
    torch.load(file, weights_only=False)
    assert made == [{"lr": 1}]


def test_what_is_let_in_is_forgotten_afterwards(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    load_pickled(save({"args": argparse.Namespace()}, tmp_path / "last.pth"))
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_another_library_has_let_in_does_not_count(tmp_path: Path) -> None:
    """torch-geometric lets ``defaultdict`` in, for one, as soon as a part of it is imported."""
    others = [Fraction, defaultdict]
    with torch.serialization.safe_globals(others):
        before = set(torch.serialization.get_safe_globals())
        found = load_pickled(save({"args": defaultdict(list, a=[1])}, tmp_path / "last.pth"))
        assert type(found["args"]) is OrderedDict
        with pytest.raises(CheckpointError, match="Fraction"):
            load_pickled(save({"args": Fraction(1, 2)}, tmp_path / "fraction.pth"))
        assert set(torch.serialization.get_safe_globals()) == before


class Runs:
    """Calls a function when unpickled."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


REFUSED: dict[str, tuple[Any, str]] = {
    "a function of the system": (Runs(os.system, "true"), r"\(posix.system\)"),
    "a builtin function": (Runs(eval, "1"), r"\(builtins.eval\).*may be made to do harm"),
    "getattr": (Runs(getattr, "a", "upper"), r"\(builtins.getattr\)"),
    "an unknown class": (foreign("my_project.Config")(), r"\(my_project.Config\)"),
    "a loss": (
        {"criterion": nn.MSELoss()},
        "pickled Python objects .torch.nn.modules.loss.MSELoss",
    ),
    "a module": (
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.BatchNorm1d(2)),
        r"whole pickled model \(torch.nn.modules[\w.]+, torch[\w.]+, torch[\w.]+ and 2 more\)",
    ),
    "a scheduler": (
        {"scheduler": foreign("timm.scheduler.cosine_lr.CosineLRScheduler")()},
        "timm.scheduler.cosine_lr.CosineLRScheduler",
    ),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(tmp_path: Path, name: str, legacy: bool) -> None:
    content, told = REFUSED[name]
    file = save({"state_dict": {"w": torch.ones(1)}, "x": content}, tmp_path / "m", legacy=legacy)
    if legacy:  # this format is read once, so that the first one is told alone
        told = told.partition(",")[0]
    with pytest.raises(CheckpointError, match=told) as refusal:
        read_tensors(file)
    assert "torch.save(" in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_protocol_of_pickle(tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    torch.save({"w": torch.ones(1)}, file, pickle_protocol=4)
    with pytest.raises(CheckpointError, match="safe reader does not take: Unsupported operand"):
        read_tensors(file)
