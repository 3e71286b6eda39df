"""SwiftFormer: convolutional encoders, and one efficient additive attention block at the end of every stage.

Source: Shaker et al., "SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision
Applications", ICCV 2023. Submodules carry the official release's names, so its state dicts load unchanged.

Two generations of trained weights share every key and every shape, and compute different functions:

- `sum` (first release, Hugging Face): the attention weights are a softmax over an axis of size one, hence all 1.
- `token_l2` (official since July 2023, timm): they are L2-normalised over the tokens.

This module knows nothing of checkpoints; `swiftformer_reader` tells the generations and the namings apart.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swiftdeploy.spec import ATTENTIONS, Attention

# One ratio serves all variants, the convolutional encoders and the MLPs alike.
MLP_RATIO = 4


class SwiftFormerOptions(TypedDict, total=False):
    """What a factory may be told; `SwiftFormer` holds the defaults and what they mean."""

    num_classes: int
    in_channels: int
    attention: Attention
    distillation: bool
    features: bool


class ConvEncoder(nn.Module):
    """x + scale * pointwise(GELU(pointwise(BN(depthwise 3x3 (x))))) over (B, C, H, W); same shape out.

    With `hidden == channels` it is the paper's local representation.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        # Starts at 1, so these branches work from the first step; the block's own two start nearly closed.
        self.layer_scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)
        # Between two convolutions, without an activation: an exporter can fold it either way.
        self.norm = nn.BatchNorm2d(channels)
        self.pwconv1 = nn.Conv2d(channels, hidden, kernel_size=1)
        self.act = nn.GELU()
        self.pwconv2 = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.layer_scale * self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x)))))


class EfficientAdditiveAttention(nn.Module):
    """Attention linear in the number of tokens: one global query per image instead of a matrix of scores.

    `attention` says how the N scores become weights (see the module's docstring). Equations 4 to 6 of the paper,
    with the unit queries and keys that the released code has.
    """

    def __init__(self, channels: int, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        # Cancels in `token_l2`, which normalises the scores afterwards; it stays because the release computes it.
        self.scale = channels**-0.5
        # A matrix of one column, not a vector: training recipes exempt vectors from weight decay.
        self.w_g = nn.Parameter(torch.randn(channels, 1))
        self.to_query = nn.Linear(channels, channels)
        self.to_key = nn.Linear(channels, channels)
        # The capital letter is the release's; any other name would cost every official checkpoint.
        self.Proj = nn.Linear(channels, channels)
        self.final = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        query = F.normalize(self.to_query(tokens), dim=-1)
        key = F.normalize(self.to_key(tokens), dim=-1)
        scores = query @ self.w_g * self.scale
        # The softmax runs over one element. It stays as released, because it gives w_g a gradient of exactly zero
        # (instead of none), and that is why weight decay leaves its mark on w_g.
        weights = scores.softmax(dim=-1) if self.attention == "sum" else F.normalize(scores, dim=1)
        # A sum, not a mean: the output depends on the number of tokens, hence on the resolution, by design.
        global_query = (weights * query).sum(dim=1, keepdim=True)
        # What is added is the unit query, not the projection that it came from.
        return self.final(self.Proj(global_query * key) + query)


class Mlp(nn.Module):
    """BN, then two pointwise convolutions around a GELU, over (B, C, H, W); same shape out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.fc1 = nn.Conv2d(channels, MLP_RATIO * channels, kernel_size=1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(MLP_RATIO * channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.fc2(self.act(self.fc1(self.norm1(x))))


class SwiftFormerEncoder(nn.Module):
    """Local representation, attention and MLP, the last two scaled by 1e-5 at initialisation; same shape out."""

    def __init__(self, channels: int, attention: Attention) -> None:
        super().__init__()
        self.layer_scale_1 = nn.Parameter(torch.full((channels, 1, 1), 1e-5))
        self.layer_scale_2 = nn.Parameter(torch.full((channels, 1, 1), 1e-5))
        self.local_representation = ConvEncoder(channels, channels)
        self.attn = EfficientAdditiveAttention(channels, attention)
        self.linear = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # It brings its own residual, and no norm stands before the attention, which normalises for itself.
        x = self.local_representation(x)
        attended = self.attn(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        x = x + self.layer_scale_1 * attended
        return x + self.layer_scale_2 * self.linear(x)


class Embedding(nn.Module):
    """3x3 convolution of stride 2 and BN, without activation, between two stages: (B, C, H, W) -> (B, D, H/2, W/2)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, out_channels, kernel_size=3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H/2, W/2)."""
        return self.norm(self.proj(x))


class SwiftFormer(nn.Module):
    """The whole network over normalised RGB images (B, in_channels, H, W).

    As classifier, eval returns logits (B, num_classes): with `distillation` the mean of the two heads. Training
    returns (logits, distillation logits) with `distillation`. With `features` there is no head, and four normalised
    maps come back at strides 4, 8, 16 and 32.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        attention: Attention = "token_l2",
        distillation: bool = True,
        features: bool = False,
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"attention {attention!r} is none of {', '.join(ATTENTIONS)}")
        self.features = features
        self.distillation = distillation and not features
        self.patch_embed = _stem(in_channels, widths[0])
        # One flat list: official key names count stages and embeddings in one sequence.
        self.network = nn.ModuleList()
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                self.network.append(Embedding(widths[stage - 1], width))
            encoders = [ConvEncoder(width, MLP_RATIO * width) for _ in range(depth - 1)]
            self.network.append(nn.Sequential(*encoders, SwiftFormerEncoder(width, attention)))
        if features:
            # Stages stand at the even places of `network`, embeddings between them; the norms are named alike.
            for stage, width in enumerate(widths):
                self.add_module(f"norm{2 * stage}", nn.BatchNorm2d(width))
        else:
            self.norm = nn.BatchNorm2d(widths[-1])
            self.head = nn.Linear(widths[-1], num_classes)
            if self.distillation:
                self.dist_head = nn.Linear(widths[-1], num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, in_channels, H, W) -> logits (B, num_classes), in training with distillation a pair, or four maps."""
        x = self.patch_embed(x)
        maps: list[Tensor] = []
        for index, block in enumerate(self.network):
            x = block(x)
            if self.features and index % 2 == 0:
                maps.append(self.get_submodule(f"norm{index}")(x))
        if self.features:
            return tuple(maps)
        # Flattened first, as transformers does, so that the two agree to the last bit.
        pooled = self.norm(x).flatten(2).mean(-1)
        logits: Tensor = self.head(pooled)
        if not self.distillation:
            return logits
        distilled: Tensor = self.dist_head(pooled)
        # Published accuracies are those of the mean; in training each head has a loss of its own.
        return (logits, distilled) if self.training else (logits + distilled) / 2


def _stem(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width // 2, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(width // 2),
        nn.ReLU(),
        nn.Conv2d(width // 2, width, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def _initialise(module: nn.Module) -> None:
    # w_g is a bare parameter and keeps its N(0, 1): `swiftformer_evidence` builds on that.
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def swiftformer_xs(**options: Unpack[SwiftFormerOptions]) -> SwiftFormer:
    """SwiftFormer-XS: 3,475,360 parameters, 0.6 GMACs at 224 px."""
    return SwiftFormer(widths=(48, 56, 112, 220), depths=(3, 3, 6, 4), **options)


def swiftformer_s(**options: Unpack[SwiftFormerOptions]) -> SwiftFormer:
    """SwiftFormer-S: 6,092,128 parameters, 1.0 GMACs at 224 px."""
    return SwiftFormer(widths=(48, 64, 168, 224), depths=(3, 3, 9, 6), **options)


def swiftformer_l1(**options: Unpack[SwiftFormerOptions]) -> SwiftFormer:
    """SwiftFormer-L1: 12,057,920 parameters, 1.6 GMACs at 224 px."""
    return SwiftFormer(widths=(48, 96, 192, 384), depths=(4, 3, 10, 5), **options)


def swiftformer_l3(**options: Unpack[SwiftFormerOptions]) -> SwiftFormer:
    """SwiftFormer-L3: 28,494,736 parameters, 4.0 GMACs at 224 px."""
    return SwiftFormer(widths=(64, 128, 320, 512), depths=(4, 4, 12, 6), **options)


def swiftformer_digits(**options: Unpack[SwiftFormerOptions]) -> SwiftFormer:
    """The same blocks, narrow, for ten handwritten digits at 32 px: small enough to train in minutes."""
    # Grey digits come in three equal channels, so the demo takes the road of any camera image.
    options.setdefault("num_classes", 10)
    return SwiftFormer(widths=(16, 24, 48, 96), depths=(2, 2, 2, 2), **options)
