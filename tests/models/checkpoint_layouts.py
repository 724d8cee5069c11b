"""The layouts of files that the libraries of the field write, with all that lies beside.

Names are built here from the structure of each library's modules, not from the tables of
:mod:`energytune.models.checkpoint_spellings`, which are under test.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tests.models.checkpoint_makers import (
    State,
    bottleneck,
    foreign,
    hydra_settings,
    lightning,
    mlp,
    optimizer,
    resnet,
    settings,
    under,
    vit,
)


class Layout(NamedTuple):
    """How a kind of file is built of the states of two networks: the one to find, and a decoy."""

    build: Callable[[State, State], Any]
    prefix: str
    kind: str
    net: Callable[[int], nn.Module]


def sequential(state: State) -> State:
    """Names as in ``nn.Sequential(*resnet.children())``."""
    net = bottleneck(0) if any("conv3" in name for name in state) else resnet(0)
    names = dict(zip(net.state_dict(), nn.Sequential(*net.children()).state_dict(), strict=True))
    return {names[name]: tensor for name, tensor in state.items()}


def tf_simclr(state: State) -> State:
    """Names as in the converter: a stem and four ``blocks``, each layer in a ``net``."""
    layers = {"conv1": "net.0", "bn1": "net.1.0", "conv2": "net.2", "bn2": "net.3.0",
              "conv3": "net.4", "bn3": "net.5.0", "0": "projection.shortcut",
              "1": "projection.bn.0"}  # fmt: skip
    renamed = {}
    for name, tensor in state.items():
        parts = name.replace("downsample.", "").split(".")
        if parts[0].startswith("layer"):
            stage, block, layer, rest = parts
            renamed[f"net.{stage[-1]}.blocks.{block}.{layers[layer]}.{rest}"] = tensor
        else:
            renamed[f"net.0.{'0' if parts[0] == 'conv1' else '1.0'}.{parts[1]}"] = tensor
    return renamed


def mmpretrain(state: State) -> State:
    """Names as in mmpretrain's ``VisionTransformer``."""
    renamed = {}
    for name, tensor in state.items():
        new = name.replace("blocks", "layers").replace("norm.", "ln1.").replace("norm", "ln")
        new = new.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")
        renamed[new.replace("patch_embed.proj.", "patch_embed.projection.")] = tensor
    return renamed


def moco(head: State, state: State, other: State) -> dict[str, Any]:
    return {
        "epoch": 200, "arch": "resnet50", "optimizer": optimizer(),
        "state_dict": under("module.encoder_q.", state | head)
        | under("module.encoder_k.", other | head)
        | {"module.queue": torch.randn(4, 8), "module.queue_ptr": torch.zeros(1).long()},
    }  # fmt: skip


def moco3(head: str, state: State, other: State) -> dict[str, Any]:
    return {
        "epoch": 300, "arch": "vit_small", "optimizer": optimizer("mu"), "scaler": {"scale": 1.0},
        "state_dict": under("module.base_encoder.", state | mlp(head))
        | under("module.momentum_encoder.", other | mlp(head))
        | mlp("module.predictor."),
    }  # fmt: skip


def byol(state: State, other: State) -> dict[str, Any]:
    head = mlp("projetion.net.")  # spelled so in the repository
    return {
        "online_network_state_dict": under("encoder.", sequential(state)) | head,
        "target_network_state_dict": under("encoder.", sequential(other)) | head,
        "optimizer_state_dict": optimizer(),
    }


def dino(teacher_prefix: str, state: State, other: State) -> dict[str, Any]:
    head = {"head.mlp.0.weight": torch.ones(4, 8), "head.last_layer.weight_g": torch.ones(9, 1)}
    return {
        "student": under("module.", under("backbone.", other) | head),
        "teacher": under(teacher_prefix, under("backbone.", state) | head),
        "optimizer": optimizer("exp_avg"), "epoch": 100, "args": settings(arch="vit_small"),
        "dino_loss": {"center": torch.zeros(1, 9)}, "fp16_scaler": {"scale": 65536.0},
    }  # fmt: skip


def swav(state: State, other: State) -> State:
    head = mlp("projection_head.") | {"prototypes.weight": torch.randn(30, 4)}
    return under("module.", state | head)


def simsiam(state: State, other: State) -> dict[str, Any]:
    weights = under("module.encoder.", state | mlp("fc.")) | mlp("module.predictor.")
    return {"epoch": 100, "arch": "resnet50", "state_dict": weights, "optimizer": optimizer()}


def barlow(state: State, other: State) -> dict[str, Any]:
    weights = under("module.backbone.", state) | mlp("module.projector.")
    normal = {"module.bn.running_mean": torch.zeros(4), "module.bn.running_var": torch.ones(4)}
    return {"epoch": 1000, "model": weights | normal, "optimizer": optimizer("mu")}


def vicreg(state: State, other: State) -> dict[str, Any]:
    weights = under("module.backbone.", state) | mlp("module.projector.")
    return {"epoch": 1000, "model": weights, "optimizer": optimizer("mu")}


def solo(name: str, state: State, other: State) -> dict[str, Any]:
    weights = {"classifier.weight": torch.ones(9, 8), "classifier.bias": torch.ones(9)}
    weights |= under(f"{name}.", state) | under(f"momentum_{name}.", other)
    weights |= mlp("projector.") | mlp("momentum_projector.") | mlp("predictor.")
    return lightning(weights, hyper_parameters=hydra_settings())


def lightly(state: State, other: State) -> dict[str, Any]:
    weights = under("backbone.", sequential(state)) | mlp("projection_head.layers.")
    weights |= under("backbone_momentum.", sequential(other))
    settings_ = foreign("pytorch_lightning.utilities.parsing.AttributeDict", dict)(lr=0.06)
    return lightning(weights, hyper_parameters=settings_, hparams_name="kwargs")


def bolts(state: State, other: State) -> dict[str, Any]:
    return lightning(under("encoder.", state) | mlp("projector.model."), hyper_parameters={"a": 1})


def vissl(state: State, other: State) -> dict[str, Any]:
    heads = {"0.clf.0.weight": torch.ones(4, 8), "0.clf.0.bias": torch.ones(4)}
    trunk = under("_feature_blocks.", state)
    momentum = under("moco_encoder.trunk._feature_blocks.", other) | {"queue": torch.randn(4, 8)}
    return {
        "phase_idx": 199, "iteration": 1000, "loss": 0.1, "type": "phase",
        "classy_state_dict": {
            "train": True, "meters": [{"accuracy": torch.ones(1)}], "optimizer": optimizer(),
            "base_model": {
                "model": {"trunk": trunk, "heads": heads},
                "meta": {"config": foreign("vissl.config.attr_dict.AttrDict", dict)(name="resnet")},
            },
            "loss": momentum, "hooks": {},
        },
    }  # fmt: skip


def mmselfsup(momentum: str, state: State, other: State) -> dict[str, Any]:
    history = foreign("mmengine.logging.history_buffer.HistoryBuffer")()
    history.__dict__ |= {"_log_history": np.arange(3.0), "_max_length": 1000}
    weights = under("backbone.", state) | under(f"{momentum}.module.0.", other)
    weights |= mlp("neck.") | mlp("head.predictor.") | {"data_preprocessor.mean": torch.ones(3)}
    return {
        "meta": {"epoch": 200, "cfg": "model = dict(type='MoCo')", "time": "20230101"},
        "state_dict": OrderedDict(weights), "optimizer": optimizer(),
        "message_hub": {"log_scalars": {"train/loss": history}, "runtime_info": {"iter": 9}},
        "param_schedulers": [{"_global_step": 4}],
    }  # fmt: skip


def timm_training(state: State, other: State) -> dict[str, Any]:
    head = {"fc.weight": torch.ones(9, 8), "fc.bias": torch.ones(9)}
    return {
        "epoch": 9, "arch": "resnet18", "version": 2, "metric": 77.1, "args": settings(amp=True),
        "state_dict": other | head, "state_dict_ema": state | head,
        "optimizer": optimizer("exp_avg"), "amp_scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }  # fmt: skip


def deit(state: State, other: State) -> dict[str, Any]:
    head = {"head.weight": torch.ones(9, 64), "head.bias": torch.ones(9)}
    return {
        "model": other | head, "model_ema": state | head, "optimizer": optimizer("exp_avg"),
        "lr_scheduler": {"base_values": [1e-3]}, "epoch": 2, "scaler": {}, "args": settings(),
    }  # fmt: skip


def simclr_v2(state: State, other: State) -> dict[str, Any]:
    head = {"fc.weight": torch.ones(9, 8), "fc.bias": torch.ones(9)}
    return {"resnet": tf_simclr(state) | head, "head": mlp("layers.")}


def compiled_inside(state: State, _: State) -> dict[str, State]:
    return {"model": {n.replace("layer3.", "layer3._orig_mod."): t for n, t in state.items()}}


def classified(state: State, _: State) -> State:
    return state | {"fc.weight": torch.ones(9, 8), "fc.bias": torch.ones(9)}


LAYOUTS: dict[str, Layout] = {
    "torchvision": Layout(classified, "", "plain", resnet),
    "Barlow Twins, VICReg, DINO: released": Layout(lambda s, _: s, "", "plain", bottleneck),
    "DINO: released ViT": Layout(lambda s, _: s, "", "plain", vit),
    "timm": Layout(classified, "", "plain", resnet),
    "timm: training": Layout(timm_training, "state_dict_ema.", "timm (EMA)", resnet),
    "timm: DeiT": Layout(deit, "model_ema.", "timm (EMA)", vit),
    "MMEngine's EMA": Layout(
        lambda s, o: {"state_dict": o, "ema_state_dict": s}, "ema_state_dict.", "timm (EMA)", resnet
    ),
    "MoCo v1": Layout(
        lambda s, o: moco({"fc.weight": torch.ones(4, 8), "fc.bias": torch.ones(4)}, s, o),
        "state_dict.module.encoder_q.", "MoCo v1", resnet,
    ),
    "MoCo v2": Layout(
        lambda s, o: moco(mlp("fc."), s, o), "state_dict.module.encoder_q.", "MoCo v2", bottleneck
    ),
    "MoCo without module": Layout(
        lambda s, o: under("encoder_q.", s | mlp("fc.")) | under("encoder_k.", o | mlp("fc.")),
        "encoder_q.", "MoCo v2", resnet,
    ),
    "MoCo v3": Layout(
        lambda s, o: moco3("fc.", s, o), "state_dict.module.base_encoder.", "MoCo v3", bottleneck
    ),
    "MoCo v3: ViT": Layout(
        lambda s, o: moco3("head.", s, o), "state_dict.module.base_encoder.", "MoCo v3", vit
    ),
    "SimCLR: lightning-bolts": Layout(bolts, "state_dict.encoder.", "SimCLR", resnet),
    "SimCLR: backbone": Layout(
        lambda s, _: {"epoch": 9, "state_dict": under("backbone.", s | mlp("fc."))},
        "state_dict.backbone.", "SimCLR", resnet,
    ),
    "SimCLR: encoder": Layout(
        lambda s, _: under("encoder.", s) | mlp("projector."), "encoder.", "SimCLR", resnet
    ),
    "SimCLR v2: converter": Layout(
        simclr_v2, "resnet.", "SimCLR v2 (from TensorFlow)", bottleneck
    ),
    "BYOL": Layout(byol, "online_network_state_dict.encoder.", "BYOL", resnet),
    "BYOL: one module": Layout(
        lambda s, o: under("online_encoder.", under("net.", s) | mlp("projector.net."))
        | under("target_encoder.", under("net.", o) | mlp("projector.net."))
        | mlp("online_predictor.net."),
        "online_encoder.net.", "BYOL", resnet,
    ),
    "BYOL: online_backbone": Layout(
        lambda s, o: {"online_backbone": s, "target_backbone": o, "online_head": mlp("")},
        "online_backbone.", "BYOL", resnet,
    ),
    "DINO: full": Layout(
        lambda s, o: dino("", s, o), "teacher.backbone.", "DINO (teacher)", vit
    ),
    "DINO: full, ResNet": Layout(
        lambda s, o: dino("module.", s, o), "teacher.module.backbone.", "DINO (teacher)", bottleneck
    ),
    "SwAV": Layout(swav, "module.", "SwAV", bottleneck),
    "SwAV: training": Layout(
        lambda s, o: {"epoch": 1, "state_dict": swav(s, o), "optimizer": optimizer(), "amp": {}},
        "state_dict.module.", "SwAV", bottleneck,
    ),
    "SimSiam": Layout(simsiam, "state_dict.module.encoder.", "SimSiam", bottleneck),
    "Barlow Twins": Layout(barlow, "model.module.backbone.", "Barlow Twins", bottleneck),
    "VICReg": Layout(vicreg, "model.module.backbone.", "VICReg", bottleneck),
    "solo-learn": Layout(
        lambda s, o: solo("backbone", s, o), "state_dict.backbone.", "solo-learn", resnet
    ),
    "solo-learn: older": Layout(
        lambda s, o: solo("encoder", s, o), "state_dict.encoder.", "solo-learn", resnet
    ),
    "solo-learn: ViT": Layout(
        lambda s, o: solo("backbone", s, o), "state_dict.backbone.", "solo-learn", vit
    ),
    "lightly": Layout(lightly, "state_dict.backbone.", "lightly", resnet),
    "VISSL": Layout(
        vissl, "classy_state_dict.base_model.model.trunk._feature_blocks.", "VISSL", bottleneck
    ),
    "mmselfsup": Layout(
        lambda s, o: mmselfsup("encoder_k", s, o), "state_dict.backbone.", "mmselfsup", bottleneck
    ),
    "mmselfsup: ViT": Layout(
        lambda s, o: mmselfsup(
            "momentum_encoder", mmpretrain(s), mmpretrain(o)
        ),
        "state_dict.backbone.", "mmselfsup", vit,
    ),
    "torch.compile and DDP": Layout(
        lambda s, _: {"model": under("module._orig_mod.", s)}, "model.module._orig_mod.", "wrapped",
        resnet,
    ),
    "torch.compile inside": Layout(compiled_inside, "model.", "wrapped", resnet),
}  # fmt: skip
