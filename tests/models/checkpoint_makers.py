"""Small networks, what training scripts keep beside their weights, and files of both."""

from __future__ import annotations

import argparse
import copy
import functools
import sys
import types
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@functools.cache
def _net(name: str, seed: int, **options: Any) -> nn.Module:
    """A net whose every tensor, counters too, differs from that of another seed."""
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(name, num_classes=0, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.1)
        for key, buffer in net.named_buffers():
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif key.endswith("running_mean"):
                buffer.normal_()
            else:
                buffer.fill_(100 + seed)
    return net.eval()


def resnet(seed: int, name: str = "resnet18") -> nn.Module:
    """The smallest net with a ResNet's names."""
    return copy.deepcopy(_net(name, seed, channels=(4, 4, 8, 8)))


def bottleneck(seed: int) -> nn.Module:
    return resnet(seed, "resnet26")


def vit(seed: int) -> nn.Module:
    return copy.deepcopy(_net("test_vit", seed, img_size=32, depth=2))


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def mlp(prefix: str, width: int = 4) -> State:
    """A projector or predictor: two layers with BatchNorm between, as most methods have."""
    return under(prefix, {
        "0.weight": torch.randn(width, 8), "1.weight": torch.ones(width),
        "1.running_mean": torch.zeros(width), "1.num_batches_tracked": torch.tensor(5),
        "3.weight": torch.randn(width, width),
    })  # fmt: skip


def optimizer(key: str = "momentum_buffer") -> dict[str, Any]:
    groups = [{"lr": 0.03, "weight_decay": 1e-4, "params": [0, 1]}]
    return {"state": {0: {key: torch.randn(64, 3, 7, 7), "step": 7}}, "param_groups": groups}


_FOREIGN: dict[str, type] = {}


def foreign(dotted: str, base: type = object) -> type:
    """A class of a library that is not installed; :func:`save` can pickle its objects."""
    module, _, name = dotted.rpartition(".")
    return _FOREIGN.setdefault(dotted, type(name, (base,), {"__module__": module}))


def save(content: Any, file: Path, *, legacy: bool = False) -> Path:
    """Writes PyTorch's format, with objects of foreign classes in it."""
    modules: dict[str, types.ModuleType] = {}
    for dotted, cls in _FOREIGN.items():
        parts = dotted.split(".")
        for n_parts in range(1, len(parts)):
            name = ".".join(parts[:n_parts])
            modules.setdefault(name, types.ModuleType(name))
        setattr(modules[".".join(parts[:-1])], parts[-1], cls)
    with mock.patch.dict(sys.modules, modules):
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file


def hydra_settings() -> Any:
    """What omegaconf's ``DictConfig`` pickles: nodes with metadata that point at each other."""
    config = foreign("omegaconf.dictconfig.DictConfig")()
    node = foreign("omegaconf.nodes.AnyNode")()
    metadata = foreign("omegaconf.base.Metadata")()
    metadata.__dict__ |= {"ref_type": Any, "object_type": dict, "flags": defaultdict(dict, a={})}
    node.__dict__ |= {"_metadata": metadata, "_val": "resnet18", "_parent": config}
    listed = foreign("omegaconf.listconfig.ListConfig")()
    listed.__dict__ |= {"_content": [node], "_parent": config}
    config.__dict__ |= {"_content": {"name": node, "gpus": listed}, "_parent": None}
    return config


def settings(**more: Any) -> argparse.Namespace:
    """What argparse gave, with a path and a number of NumPy's."""
    return argparse.Namespace(lr=0.1, data=PurePosixPath("/data"), best=np.float64(71.5), **more)


def lightning(weights: State, **more: Any) -> dict[str, Any]:
    """A checkpoint of pytorch-lightning."""
    callback = foreign("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    kept = {"monitor": "val_loss", "best_model_score": torch.tensor(0.5), "dirpath": "/runs"}
    return {
        "epoch": 399, "global_step": 78000, "pytorch-lightning_version": "1.4.9",
        "state_dict": weights, "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {callback: kept}, "optimizer_states": [optimizer()],
        "lr_schedulers": [{"milestones": Counter({60: 1}), "_last_lr": [np.float32(0.1)]}],
    } | more  # fmt: skip
