import pytest
import timm
import torch
from torch import nn

from energytune.errors import ConfigError
from energytune.models.cut_plan import CutPlanner
from energytune.models.hook_cut import HookCut
from energytune.models.spatial_timm import check_maps, spatial_options


def dense(name):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=0, **spatial_options(name)).eval()


@pytest.mark.parametrize("name", ["resnet18", "resnet18d", "regnety_002"])
def test_ordinary_weights_load_strictly(name):
    ordinary = timm.create_model(name, pretrained=False, num_classes=0)
    assert dense(name).load_state_dict(ordinary.state_dict(), strict=True)


def test_the_map_has_an_eighth_of_the_images_side_and_only_the_strides_differ():
    net = dense("resnet18.a1_in1k")
    assert check_maps(net, (3, 65, 97), "resnet18") == (512, 9, 13)
    ordinary = timm.create_model("resnet18", pretrained=False, num_classes=0, global_pool="").eval()
    ordinary.load_state_dict(net.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = net.layer2(net.layer1(stem(net, images))), None
        theirs = ordinary.layer2(ordinary.layer1(stem(ordinary, images)))
    assert torch.equal(ours, theirs)  # dilation starts behind layer2


def stem(net, images):
    return net.maxpool(net.act1(net.bn1(net.conv1(images))))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k", "densenet121", "vgg11"])
def test_networks_that_cant_keep_their_resolution_are_refused(name):
    with pytest.raises(ConfigError, match=rf"(?s)'{name}'.*output stride 8.*resnet50"):
        spatial_options(name)


class Returns(nn.Module):
    def __init__(self, output, num_features=None):
        super().__init__()
        self.output, self.num_features = output, num_features

    def forward(self, x):
        return self.output


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Returns(torch.zeros(1, 7)), r"shape \(1, 7\)"),
        (Returns([torch.zeros(1, 2, 3, 3)]), "a list"),
        (Returns(torch.zeros(1, 4, 4, 96), 96), "channels at the end"),
        (Returns(torch.zeros(1, 4, 99, 99), 4), "larger than the image"),
        (nn.Conv2d(5, 4, 1), "does not take inputs"),
    ],
)
def test_what_is_no_map_is_refused(module, told):
    with pytest.raises(ConfigError, match=rf"(?s)Backbone 'mine'.*{told}"):
        check_maps(module, (3, 16, 16), "mine")


def test_a_dilated_resnet_is_cut_exactly():
    net = dense("resnet18")
    planner = CutPlanner(net, (3, 64, 64))
    assert planner.max_depth >= 3
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = net(images)
        assert whole.shape == (2, 512, 8, 8)
        for depth in (1, 2, 3):
            cut = HookCut(net, planner.plan(depth))
            z = cut.prefix(images)
            assert z.ndim == 4
            assert torch.equal(cut.resume(z), whole)
