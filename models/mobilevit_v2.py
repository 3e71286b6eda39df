"""MobileViT-v2: inverted residuals, and from stride 8 on transformer blocks with separable self-attention.

Source: Mehta and Rastegari, "Separable Self-attention for Mobile Vision Transformers", TMLR 2023. Submodules carry
timm's names (`mobilevitv2_050` to `mobilevitv2_200`), so its state dicts load unchanged. It is the yardstick that the
SwiftFormer paper measures itself against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from swiftdeploy.errors import CheckpointError
from swiftdeploy.spec import Reading

from .provenance import origin_of, timm_preprocessing

# Two by two pixels at every stage.
_PATCH = 2
# Channels of the stem and the five stages at width 1.0, and transformer blocks of each stage.
_STEM = 32
_CHANNELS = (64, 128, 256, 384, 512)
_TRANSFORMERS = (0, 0, 2, 4, 3)


class MobileViTV2Options(TypedDict, total=False):
    """What a factory may be told; `MobileViTV2` holds the defaults and what they mean."""

    num_classes: int
    in_channels: int


class ConvNormAct(nn.Module):
    """A convolution without bias, BN, and SiLU unless `activate` is off."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        x = self.bn(self.conv(x))
        return F.silu(x) if self.activate else x


class InvertedResidual(nn.Module):
    """Expand twofold, filter each channel, project without activation; a sum with the input where shapes allow it."""

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        # Twofold, where MobileNet-v2 expands sixfold: the paper's choice.
        hidden = 2 * channels
        self.residual = stride == 1 and channels == out_channels
        self.conv1_1x1 = ConvNormAct(channels, hidden)
        self.conv2_kxk = ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden)
        self.conv3_1x1 = ConvNormAct(hidden, out_channels, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        y = self.conv3_1x1(self.conv2_kxk(self.conv1_1x1(x)))
        return x + y if self.residual else y


class SeparableSelfAttention(nn.Module):
    """Self-attention linear in the number of patches: scores against one latent token, over (B, C, P, N).

    P are the pixels of a patch, N the patches; attention runs over N.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.qkv_proj = nn.Conv2d(channels, 1 + 2 * channels, kernel_size=1)
        self.out_proj = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, P, N) -> (B, C, P, N)."""
        # One channel of scores, then keys, then values: the order in which the release stacks them.
        query, key, value = self.qkv_proj(x).split([1, self.channels, self.channels], dim=1)
        # One context vector for each pixel position: the patches exchange, the positions do not.
        context = (key * query.softmax(dim=-1)).sum(dim=-1, keepdim=True)
        return self.out_proj(F.relu(value) * context)


class Mlp(nn.Module):
    """Two pointwise convolutions around SiLU, twofold wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.fc2 = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, P, N) -> (B, C, P, N)."""
        return self.fc2(F.silu(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with a residual. The norms are layer norms over C, P and N: one group."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # One group over channels, pixels and patches: what the release calls a layer norm in two dimensions.
        self.norm1 = nn.GroupNorm(1, channels)
        self.attn = SeparableSelfAttention(channels)
        self.norm2 = nn.GroupNorm(1, channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, P, N) -> (B, C, P, N)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class MobileViTV2Block(nn.Module):
    """Local convolution, then transformers over the 2 x 2 patches of half the channels, then a projection back."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        inner = channels // 2
        self.conv_kxk = ConvNormAct(channels, channels, 3, groups=channels)
        self.conv_1x1 = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.transformer = nn.Sequential(*[TransformerBlock(inner) for _ in range(depth)])
        self.norm = nn.GroupNorm(1, inner)
        self.conv_proj = ConvNormAct(inner, channels, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), odd sides made even by bilinear resizing."""
        height, width = (_PATCH * -(-side // _PATCH) for side in x.shape[2:])
        # Aligned corners, as timm has it; the map stays even afterwards.
        if (height, width) != tuple(x.shape[2:]):
            x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
        x = self.conv_1x1(self.conv_kxk(x))
        x = self.norm(self.transformer(_unfold(x)))
        return self.conv_proj(_fold(x, height, width))


class Head(nn.Module):
    """The spatial mean and a linear layer: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes)."""
        return self.fc(x.mean((2, 3)))


class MobileViTV2(nn.Module):
    """RGB images (B, in_channels, H, W) in 0..1, not normalised, become logits (B, num_classes)."""

    def __init__(self, *, width: float, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = int(_STEM * width)
        self.stem = ConvNormAct(in_channels, channels, 3, stride=2)
        self.stages = nn.Sequential()
        for stage, (base, depth) in enumerate(zip(_CHANNELS, _TRANSFORMERS, strict=True)):
            out_channels = int(base * width)
            # Only the first stage keeps the resolution; the stem has halved it already.
            blocks: list[nn.Module] = [InvertedResidual(channels, out_channels, stride=2 if stage else 1)]
            if stage == 1:
                blocks.append(InvertedResidual(out_channels, out_channels, stride=1))
            if depth:
                blocks.append(MobileViTV2Block(out_channels, depth))
            self.stages.append(nn.Sequential(*blocks))
            channels = out_channels
        self.head = Head(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_classes)."""
        return self.head(self.stages(self.stem(x)))


def _unfold(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 4, H*W/4): the pixels of a patch, and the patches, both row by row."""
    _, channels, height, width = x.shape
    # Batch and channels share an axis meanwhile: Core ML's tensors have at most five.
    x = x.reshape(-1, height // _PATCH, _PATCH, width // _PATCH, _PATCH).permute(0, 2, 4, 1, 3)
    return x.reshape(-1, channels, _PATCH * _PATCH, height * width // (_PATCH * _PATCH))


def _fold(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `_unfold`."""
    channels = x.shape[1]
    x = x.reshape(-1, _PATCH, _PATCH, height // _PATCH, width // _PATCH).permute(0, 3, 1, 4, 2)
    return x.reshape(-1, channels, height, width)


def mobilevitv2_050(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x0.5: 1,370,593 parameters."""
    return MobileViTV2(width=0.5, **options)


def mobilevitv2_075(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x0.75: 2,866,009 parameters."""
    return MobileViTV2(width=0.75, **options)


def mobilevitv2_100(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x1.0: 4,901,841 parameters."""
    return MobileViTV2(width=1.0, **options)


def mobilevitv2_125(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x1.25: 7,478,089 parameters."""
    return MobileViTV2(width=1.25, **options)


def mobilevitv2_150(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x1.5: 10,594,753 parameters."""
    return MobileViTV2(width=1.5, **options)


def mobilevitv2_175(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x1.75: 14,251,833 parameters."""
    return MobileViTV2(width=1.75, **options)


def mobilevitv2_200(**options: Unpack[MobileViTV2Options]) -> MobileViTV2:
    """MobileViT-v2 x2.0: 18,449,329 parameters."""
    return MobileViTV2(width=2.0, **options)


def read(state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None, attention: str | None) -> Reading:
    """The state as it is (timm's names), with the class count and input channels of its weights.

    Raises CheckpointError where the first key of this architecture is missing.
    """
    del attention
    stem, head = state.get("stem.conv.weight"), state.get("head.fc.weight")
    if stem is None or head is None:
        raise CheckpointError(
            "keys do not follow timm's naming of MobileViT-v2: stem.conv.weight or head.fc.weight is missing",
            hint="give timm's checkpoint; look at the keys with: swiftdeploy inspect CHECKPOINT",
        )
    preprocessing = None
    # Without a config the catalog row says the same; with one, a fine-tuned size or mean may differ.
    if origin_of(config) == "timm":
        zeros, ones = (0.0,) * 3, (1.0,) * 3
        preprocessing = timm_preprocessing(config, size=256, crop_pct=0.888, mean=zeros, std=ones)
    return Reading(
        naming="timm",
        state=state,
        arguments={"num_classes": int(head.shape[0]), "in_channels": int(stem.shape[1])},
        preprocessing=preprocessing,
    )
