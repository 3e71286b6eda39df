"""Weights that make every part of a network matter, so that a wrong graph cannot hide.

Layer scales start at 1e-5, norm statistics at 0 and 1, biases at 0: an export of such weights agrees with anything.
Stress weights are drawn anew for the same architecture: layer scales and norm gains around 1, no bias or statistic at
its default, every layer's output of unit variance on real images, so that fp16 stays in range through any depth.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def stress_(module: nn.Module, images: Tensor, *, seed: int = 0) -> nn.Module:
    """Redraw every weight of `module` in place, fit to `images` (N, C, H, W), its input. Answers the module."""
    generator = torch.Generator().manual_seed(seed)
    drawn: set[Tensor] = set()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, _WEIGHTED):
                fan_in = part.weight[0].numel()
                part.weight.normal_(0.0, 1.0 / math.sqrt(fan_in), generator=generator)
                drawn.add(part.weight)
                if part.bias is not None:
                    part.bias.normal_(0.0, 0.1, generator=generator)
                    drawn.add(part.bias)
            elif isinstance(part, _NORMS) and part.weight is not None:
                part.weight.uniform_(0.5, 1.5, generator=generator)
                drawn.add(part.weight)
                if part.bias is not None:
                    part.bias.normal_(0.0, 0.2, generator=generator)
                    drawn.add(part.bias)
        for parameter in module.parameters():
            if parameter not in drawn:
                _draw_loose(parameter, generator)
        _fit(module, images, generator)
    return module


def _draw_loose(parameter: Tensor, generator: torch.Generator) -> None:
    """A parameter of no known layer: per-channel factors go around 1, other vectors and tables to unit variance."""
    if parameter.dim() >= 1 and parameter.numel() == parameter.shape[0] and parameter.dim() != 2:
        parameter.uniform_(0.5, 1.5, generator=generator)
    else:
        parameter.normal_(0.0, 1.0, generator=generator)


def _fit(module: nn.Module, images: Tensor, generator: torch.Generator) -> None:
    """One forward pass that brings every layer's output to unit variance and every statistic near what it sees.

    Without it a sum over thousands of tokens drowns the rest of the network, and a wrong op with it. Scaling each layer
    by its own output is layer-sequential unit variance (Mishkin and Matas, 2016). Statistics are then moved off by a
    random part, since equal ones would make a batch norm that is left out invisible.
    """
    fitted: set[nn.Module] = set()

    def scale(part: nn.Module, _: Any, output: Tensor) -> Tensor | None:
        spread = output.std()
        if part in fitted or not bool(spread > 0):
            return None
        fitted.add(part)
        for name in ("weight", "bias"):
            parameter = getattr(part, name)
            if parameter is not None:
                parameter.div_(spread)
        return output / spread

    def match(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen = inputs[0].transpose(0, 1).flatten(1)
        # Few values (a 1x1 map of a few images) estimate a spread badly, and a tiny one would magnify rounding.
        spread = seen.std(dim=1).clamp_min(max(float(seen.std()), 1e-3))
        jitter = torch.empty_like(spread)
        mean, var = part.get_buffer("running_mean"), part.get_buffer("running_var")
        mean.copy_(seen.mean(dim=1) + spread * jitter.normal_(0.0, 0.2, generator=generator))
        var.copy_(spread.square() * jitter.uniform_(0.6, 1.6, generator=generator))

    handles: list[RemovableHandle] = []
    for part in module.modules():
        if isinstance(part, _WEIGHTED):
            handles.append(part.register_forward_hook(scale))
        elif isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            handles.append(part.register_forward_pre_hook(match))
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
