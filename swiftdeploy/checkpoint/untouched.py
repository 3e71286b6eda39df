"""Whether weights that call themselves trained ever were: training moves every batch norm's running statistics."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def untouched_norms(state: Mapping[str, Tensor]) -> tuple[tuple[str, ...], int]:
    """Names of batch norms whose statistics are those of a new module, and how many batch norms there are.

    New means: running mean exactly 0, running variance exactly 1, and no batch counted.
    """
    norms = [key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")]
    new = []
    for norm in norms:
        mean, variance = state[f"{norm}.running_mean"], state.get(f"{norm}.running_var")
        batches = state.get(f"{norm}.num_batches_tracked")
        # A counter that moved is proof of training, even if the statistics were reset.
        counted = batches is not None and bool((batches != 0).any())
        if not counted and not mean.any() and variance is not None and torch.equal(variance, torch.ones_like(variance)):
            new.append(norm)
    return tuple(new), len(norms)
