"""Attention: Apple's `transformers` family (since iOS18)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(query·keyᵀ/√E + mask)·value: [B, *, L, E], [B, *, S, E], [B, *, S, EV] to [B, *, L, EV].

    `attn_mask` broadcasts to [B, *, L, S]; a boolean one says which positions take part, a float one is added. A row
    with nothing left to attend to is NaN, as the definition gives.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
    return torch.softmax(scores, dim=-1) @ value


KERNELS = (kernel(scaled_dot_product_attention, since="CoreML8"),)
