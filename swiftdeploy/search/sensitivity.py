"""What each weight costs when it alone is compressed: the fused module against itself, with one tensor exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.errors import ConversionError
from swiftdeploy.pipeline import compressed, parity
from swiftdeploy.pipeline.compressed import Base
from swiftdeploy.pipeline.program import Built
from swiftdeploy.search.candidates import Candidate


def damages(
    built: Built, base: Base, candidates: Sequence[Candidate], inputs: NDArray[np.float32]
) -> tuple[dict[tuple[str, str], float], float]:
    """(mean squared error of the first output by (weight, scheme), the output's peak) over inputs (N, C, H, W).

    The values are coremltools' own, decompressed; the module is the fused one, in fp32. Raises ConversionError for a
    weight that is no constant of it, or one that makes it answer NaN or Inf.
    """
    output = built.program.outputs[0].name
    where = compressed.places(built.module, built, base.constants)
    reference = parity.graph_answers(built, inputs)[output].astype(np.float64)
    found: dict[tuple[str, str], float] = {}
    total = sum(len(candidate.dense) for candidate in candidates)
    with console.progress("measuring each weight alone", total=total) as advance:
        for candidate in candidates:
            for weight, values in candidate.dense.items():
                found[weight, candidate.scheme] = _alone(built, where, base, {weight: values}, inputs, reference)
                advance(1)
    return found, float(np.abs(reference).max(initial=0.0))


def _alone(
    built: Built,
    where: compressed.Places,
    base: Base,
    changed: Mapping[str, NDArray[Any]],
    inputs: NDArray[np.float32],
    reference: NDArray[np.float64],
) -> float:
    with compressed.swapped(where, base.constants, changed):
        answered = parity.graph_answers(built, inputs)[built.program.outputs[0].name]
    error = float(np.mean(np.square(answered.astype(np.float64) - reference)))
    if not np.isfinite(error):
        raise ConversionError(
            f"the network answers NaN or Inf where {min(changed)} alone is compressed",
            hint="leave the scheme out that does it, and report it with the model",
        )
    return error
