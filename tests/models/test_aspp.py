import pytest
import torch
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from energytune.models.aspp import AsppConfig, AsppHead, aspp_for


def disturb_norms(module):
    """Moves statistics and scales away from 0 and 1, where a mistake would not show."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                tensor.detach().copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


@pytest.mark.parametrize("rates", [(12, 24, 36), (2, 4, 6)])
def test_equals_torchvisions_head_with_the_same_weights(rates):
    theirs = DeepLabHead(8, 3, rates).eval()
    disturb_norms(theirs)
    ours = AsppHead(8, 3, AsppConfig(rates=rates)).eval()
    ours.load_state_dict(theirs.state_dict())
    maps = torch.randn(2, 8, 9, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(maps), theirs(maps))


def test_training_equals_torchvisions_too():
    theirs, ours = DeepLabHead(8, 3, (1, 2, 3)), AsppHead(8, 3, AsppConfig(rates=(1, 2, 3)))
    ours.load_state_dict(theirs.state_dict())
    maps = torch.randn(3, 8, 7, 7, generator=torch.Generator().manual_seed(0))
    outputs, states = [], []
    for head in (theirs, ours):
        torch.manual_seed(5)  # dropout
        outputs.append(head.train()(maps))
        outputs[-1].square().sum().backward()
        states.append({n: b.clone() for n, b in head.named_buffers()})
    assert torch.equal(*outputs)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_one_image_trains_where_torchvision_fails():
    maps = torch.randn(1, 8, 7, 7)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        DeepLabHead(8, 3).train()(maps)
    head = AsppHead(8, 3, AsppConfig(width=16, rates=(1, 2, 3))).train()
    before = head[0].convs[-1][2].running_mean.clone()
    head(maps).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())
    assert torch.equal(head[0].convs[-1][2].running_mean, before)  # one value has no statistics
    head(maps.expand(2, -1, -1, -1) + torch.randn(2, 8, 7, 7))
    assert not torch.equal(head[0].convs[-1][2].running_mean, before)


@pytest.mark.parametrize(
    ("side", "rates"),
    [
        (129, (12, 24, 36)),
        (65, (12, 24, 36)),
        (41, (8, 16, 24)),
        (33, (6, 12, 18)),
        (28, (5, 10, 15)),
        (17, (3, 6, 9)),
        (16, (3, 6, 9)),
        (8, (1, 2, 3)),
        (1, (1, 2, 3)),
    ],
)
def test_rates_follow_the_map(side, rates):
    config = aspp_for((side, side + 3))
    assert config.rates == rates
    small = side < 17
    assert (config.norm, config.dropout) == ((False, 0.0) if small else (True, 0.5))
    assert (config.width == 256) is not small


def test_a_small_head_has_no_normalisation_and_treats_images_alone():
    head = AsppHead(4, 3, aspp_for((8, 8))).train()
    assert not any(isinstance(m, torch.nn.BatchNorm2d | torch.nn.Dropout) for m in head.modules())
    maps = torch.randn(3, 4, 8, 8)
    torch.testing.assert_close(head(maps)[1:2], head(maps[1:2]))


def test_a_small_head_keeps_the_scale_of_maps_and_starts_undecided():
    torch.manual_seed(0)
    head, maps = AsppHead(64, 3, aspp_for((16, 16))), torch.randn(4, 64, 16, 16).relu()
    with torch.no_grad():
        assert 0.3 < float(torch.nn.Sequential(*list(head)[:-1])(maps).std()) < 3.0
        probs = torch.softmax(head(3.0 * maps), dim=1)
    assert 0.2 < float(probs.min()) <= float(probs.max()) < 0.5
