import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation._utils import _SimpleSegmentationModel

from energytune.errors import UnknownNameError
from energytune.models.map_heads import MAP_HIDDEN, create_map_head


def make(arch, *, seed=0, n_features=6, n_outputs=3, output_size=(33, 41), map_size=(5, 6)):
    return create_map_head(
        arch, n_features, n_outputs, seed=seed, output_size=output_size, map_size=map_size
    )


@pytest.mark.parametrize("arch", ["aspp", "linear", "mlp"])
def test_logits_have_the_images_size(arch):
    head = make(arch).eval()
    assert head(torch.randn(2, 6, 5, 6)).shape == (2, 3, 33, 41)


@pytest.mark.parametrize("arch", ["aspp", "linear", "mlp"])
def test_a_seed_gives_bit_equal_weights_and_leaves_the_global_generator(arch):
    torch.manual_seed(7)
    first = make(arch, seed=3).state_dict()
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))
    again, other = make(arch, seed=3).state_dict(), make(arch, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_linear_head_looks_at_one_position_at_a_time():
    head = make("linear", output_size=(5, 6))  # no upsampling
    maps = torch.randn(2, 6, 5, 6)
    by_hand = torch.einsum("nchw,kc->nkhw", maps, head[0].weight[:, :, 0, 0])
    torch.testing.assert_close(head(maps), by_hand + head[0].bias.view(1, -1, 1, 1))
    assert [m.out_channels for m in make("mlp") if isinstance(m, nn.Conv2d)] == [MAP_HIDDEN, 3]


def test_upsampling_equals_torchvisions():
    head = make("linear", output_size=(33, 41)).eval()

    class Features(nn.Module):
        def forward(self, x):
            return {"out": F.avg_pool2d(x, 8, ceil_mode=True)}

    theirs = _SimpleSegmentationModel(Features(), head[0]).eval()
    images = torch.randn(2, 6, 33, 41)
    assert torch.equal(head(Features()(images)["out"]), theirs(images)["out"])


def test_unknown_head():
    with pytest.raises(UnknownNameError, match=r"'asp'.*'aspp'"):
        make("asp")
