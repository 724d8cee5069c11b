"""The head of DeepLabV3: atrous spatial pyramid pooling and a classifier, [Chen2017]_.

Its layers carry torchvision's names (``DeepLabHead``), so that weights trained there load here.

.. [Chen2017] L.-C. Chen, G. Papandreou, F. Schroff, H. Adam. Rethinking atrous convolution for
   semantic image segmentation. arXiv:1706.05587, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

__all__ = ["ASPP", "AsppConfig", "AsppHead", "aspp_for"]

_FULL_SIDE, _FULL_RATE = 65, 12  # a 513 px image at output stride 8, and its first rate
_SMALL_SIDE = 17
_CLASSIFIER_STD = 0.01


@dataclass(frozen=True)
class AsppConfig:
    """Size of the head.

    Attributes:
        width: Channels of each branch and behind them.
        rates: Dilation of the three 3 x 3 branches, in pixels of the map.
        norm: Whether each convolution is followed by batch normalisation.
        dropout: Share of the projected channels that is dropped in training.
    """

    width: int = 256
    rates: tuple[int, ...] = (12, 24, 36)
    norm: bool = True
    dropout: float = 0.5


def aspp_for(map_size: tuple[int, int]) -> AsppConfig:
    """Returns the head for a map of that size, (h, w).

    The rates grow with the shorter side: (12, 24, 36) from 65 pixels on, the map of a 513 px
    image at output stride 8; (6, 12, 18) at 33, which [Chen2017]_ uses at output stride 16;
    (3, 6, 9) at 16; at least (1, 2, 3). A rate beyond the map's side would only ever see
    padding. Maps below 17 pixels belong to small networks without batch normalisation, and get
    a head of their kind: width 32, no normalisation, no dropout.
    """
    side = min(map_size)
    rate = min(_FULL_RATE, max(1, round(_FULL_RATE * side / _FULL_SIDE)))
    rates = (rate, 2 * rate, 3 * rate)
    if side < _SMALL_SIDE:
        return AsppConfig(width=32, rates=rates, norm=False, dropout=0.0)
    return AsppConfig(rates=rates)


class ASPP(nn.Module):
    """Five looks at a map side by side, and their projection.

    A 1 x 1 convolution, three dilated 3 x 3 ones, and the mean of the whole map.

    Args:
        n_features: Channels of the map.
        config: Width, rates, normalisation and dropout.

    Attributes:
        convs: The five branches.
        project: From all of them to one map.
    """

    def __init__(self, n_features: int, config: AsppConfig) -> None:
        super().__init__()
        width, norm = config.width, config.norm
        dilated = (_conv(n_features, width, 3, norm, dilation=rate) for rate in config.rates)
        self.convs = nn.ModuleList(
            [
                _conv(n_features, width, 1, norm),
                *dilated,
                _ImagePooling(n_features, width, norm),
            ]
        )
        self.project = _conv(len(self.convs) * width, width, 1, norm)
        if config.dropout:
            self.project.append(nn.Dropout(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, width, h, w) of a map (N, n_features, h, w)."""
        projected: Tensor = self.project(torch.cat([branch(x) for branch in self.convs], dim=1))
        return projected


class AsppHead(nn.Sequential):
    """ASPP, a 3 x 3 convolution and a 1 x 1 classifier: the whole task head of DeepLabV3.

    Args:
        n_features: Channels of the map.
        n_outputs: Classes, K.
        config: Size of the head.
    """

    def __init__(self, n_features: int, n_outputs: int, config: AsppConfig) -> None:
        super().__init__(
            ASPP(n_features, config),
            *_conv(config.width, config.width, 3, config.norm),
            nn.Conv2d(config.width, n_outputs, 1),
        )
        if not config.norm:
            _keep_scale(self)


def _keep_scale(head: AsppHead) -> None:
    """Draws the weights of a head without normalisation.

    torch's default shrinks what passes by 2.4 a convolution, which normalisation would make up
    for. The classifier starts near 0, so that a first prediction is as undecided as that of a
    head with normalisation, however large the features are.
    """
    convs = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)]
    for conv in convs[:-1]:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.normal_(convs[-1].weight, std=_CLASSIFIER_STD)
    for conv in convs:
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


class _ImagePooling(nn.Sequential):
    """The mean of the whole map through a 1 x 1 convolution, laid out over the map again."""

    def __init__(self, n_features: int, width: int, norm: bool) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv(n_features, width, 1, norm, pooled=True))

    def forward(self, input: Tensor) -> Tensor:
        """Returns (N, width, h, w), constant over each map."""
        pooled = input
        for layer in self:
            pooled = layer(pooled)
        return F.interpolate(pooled, size=input.shape[-2:], mode="bilinear", align_corners=False)


class _PooledBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of 1 x 1 maps that takes a batch of one.

    One image gives one value a channel, which has no variance: it is normalised by the running
    statistics, which then stay as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns normalised values, (N, C, 1, 1)."""
        if self.training and len(input) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def _conv(
    n_in: int, n_out: int, kernel: int, norm: bool, *, dilation: int = 1, pooled: bool = False
) -> nn.Sequential:
    """Returns convolution, normalisation (or nothing) and ReLU, the size of the map kept."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(n_in, n_out, kernel, padding=padding, dilation=dilation, bias=not norm)
    batch_norm = _PooledBatchNorm if pooled else nn.BatchNorm2d
    return nn.Sequential(conv, batch_norm(n_out) if norm else nn.Identity(), nn.ReLU())
