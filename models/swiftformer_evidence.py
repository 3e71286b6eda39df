"""Whether a SwiftFormer's attention vectors w_g were ever trained: the one trace of its generation in the weights.

Tensors in, one sentence or None out; knows neither keys nor modules.

In the `sum` generation the gradient of w_g is exactly zero, so AdamW leaves only its decoupled weight decay:
w_g = s * z, z the N(0, 1) initialisation, one s for the whole net. The official recipe (decay 0.025, 187,500 steps,
cosine from 2e-3 to 4e-3) makes s about 0.01 to 0.0001.

Under `token_l2` w_g has gradients, and Adam makes steps of about the learning rate however small they are; its
elements then settle near sqrt(rate / (2 * decay)). Measured on the digits: 0.7 to 1.2 with decay 0.025, 0.06 to 0.12
with decay 1. The gradient also grows as w_g shrinks (the function depends on w_g's direction only), so nothing that
is trained falls far below that.

The test therefore concludes `sum`, never `token_l2`, and only when all of these hold:

1. every vector's root mean square is below SHRUNKEN, far from 1 (initialisation) and from what training leaves;
2. all vectors agree in s: log(rms) has standard deviation 1/sqrt(2n) for n normal elements, and the weighted
   deviations from their mean form a chi-square with (blocks - 1) degrees of freedom;
3. the elements, each divided by its block's rms, look standard normal: mean, skewness, kurtosis and the
   Kolmogorov-Smirnov distance all within LIMIT standard errors.

Anything else, an initialisation included, is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SHRUNKEN = 0.01
# Standard errors. Simulated: two or three decayed nets in a thousand are not recognised, which costs a question only.
LIMIT = 4.0
# With one block there is no common factor to test, and few elements look normal whatever they are.
_FEWEST_BLOCKS = 2
_FEWEST_ELEMENTS = 96
# P(sqrt(n) * D > 1.95) is 0.001 for a fully specified distribution; the scale is estimated, so it is less still.
_KOLMOGOROV = 1.95


def decayed_only(vectors: Sequence[Tensor]) -> str | None:
    """The sentence that concludes from w_g tensors, each (C, 1), that only weight decay ever moved them, or None."""
    # Factors may be as small as 1e-5, and fourth powers of them leave float32.
    flat = [vector.detach().double().flatten() for vector in vectors]
    if len(flat) < _FEWEST_BLOCKS or sum(v.numel() for v in flat) < _FEWEST_ELEMENTS:
        return None
    scales = [float(v.square().mean().sqrt()) for v in flat]
    # Zeros are not decay: somebody wrote them, perhaps to strip the dead branch.
    if min(scales) == 0.0 or max(scales) > SHRUNKEN:
        return None
    if not _one_factor(scales, [v.numel() for v in flat]):
        return None
    if not _standard_normal(torch.cat([v / s for v, s in zip(flat, scales, strict=True)])):
        return None
    return (
        f"w_g of all {len(flat)} blocks is a normal vector times one factor ({min(scales):.3g} to {max(scales):.3g}), "
        "so weight decay alone moved it and no gradient ever did"
    )


def _one_factor(scales: Sequence[float], counts: Sequence[int]) -> bool:
    logs = [math.log(scale) for scale in scales]
    # Weighted by the counts, since the variance of log(rms) is 1 / (2 n).
    mean = sum(n * x for n, x in zip(counts, logs, strict=True)) / sum(counts)
    chi_square = sum(2 * n * (x - mean) ** 2 for n, x in zip(counts, logs, strict=True))
    freedom = len(scales) - 1
    # Wilson and Hilferty: the cube root of chi-square over its degrees of freedom is nearly normal.
    spread = 2 / (9 * freedom)
    return ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread) < LIMIT


def _standard_normal(values: Tensor) -> bool:
    n = values.numel()
    # Raw moments: the mean is known to be 0, and an estimated one would hide a shift.
    mean = float(values.mean()) * math.sqrt(n)
    skewness = float(values.pow(3).mean()) / math.sqrt(15 / n)
    kurtosis = (float(values.pow(4).mean()) - 3) / math.sqrt(24 / n)
    ordered = torch.special.ndtr(values.sort().values)
    steps = torch.arange(n + 1, dtype=ordered.dtype) / n
    distance = float(torch.maximum(steps[1:] - ordered, ordered - steps[:-1]).max())
    return max(abs(mean), abs(skewness), abs(kurtosis)) < LIMIT and distance * math.sqrt(n) < _KOLMOGOROV
