import pytest
import torch

from energytune.models import build_model, create_backbone
from energytune.models.cut import SequentialCut
from energytune.models.scene_net import SCENE_BACKBONES, SceneResNet


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_maps_have_the_told_stride_and_width(stride, n_channels):
    net = SceneResNet(stride, n_channels)
    assert net.input_shape == (n_channels, 64, 64)
    maps = net(torch.randn(2, *net.input_shape))
    assert maps.shape == (2, net.num_features, 64 // stride, 64 // stride)
    assert net(torch.randn(1, n_channels, 32, 32)).shape[2:] == (32 // stride, 32 // stride)


def test_it_is_small_has_no_normalisation_and_is_its_blocks():
    net = SCENE_BACKBONES["scene-resnet"]()
    assert sum(p.numel() for p in net.parameters()) == 109_408
    assert not any("Norm" in type(module).__name__ for module in net.modules())
    assert [name for name, _ in net.named_children()] == ["blocks"]
    assert any(m.dilation[0] > 1 for m in net.blocks[-1].modules() if hasattr(m, "dilation"))


def test_signal_keeps_its_scale():
    torch.manual_seed(0)
    net, x = SceneResNet(), torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        for block in net.blocks:
            x = block(x)
            assert 0.3 < float(x.std()) < 3.0


def test_each_block_can_be_cut_off():
    net = SceneResNet().eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole = net(images)
        for depth in range(1, len(net.blocks) + 1):
            cut = SequentialCut(net, depth)
            assert torch.equal(cut.resume(cut.prefix(images)), whole)


def test_a_cut_off_block_is_drawn_anew():
    backbone = create_backbone("scene-resnet", weights="none", spatial=True)
    assert backbone.map_size is not None
    model = build_model(
        backbone, head_arch="aspp", n_outputs=3, reinit_depth=1, seed=1, output_size=(64, 64)
    )
    old, new = backbone.module.state_dict(), model.backbone.state_dict()
    last = f"blocks.{len(backbone.module.blocks) - 1}."
    for name in old:
        if name.endswith("weight"):
            assert torch.equal(old[name], new[name]) is not name.startswith(last)
    with torch.no_grad():
        images = torch.randn(2, 3, 64, 64)
        logits = model(images)
        assert logits.shape == (2, 3, 64, 64)
        assert torch.equal(model.from_features(model.features(images)), logits)
