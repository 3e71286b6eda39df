"""Inputs for an artifact of which nothing is known but its interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.parity.samples import natural_image, to_input
from swiftdeploy.spec import Preprocessing, TensorSpec

_CHANNELS = (1, 3)
_LEAST_SIDE = 8
_CENTRED = {count: Preprocessing(resize=1, crop=1, mean=(0.46,) * count, std=(0.24,) * count) for count in _CHANNELS}


def seeded_feeds(inputs: Sequence[TensorSpec], *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """One array for each input, the same for the same seed; a free size is 1.

    What is shaped as images (N, C, H, W) gets natural statistics: pixels 0 to 255 for uint8, else mean 0 and spread 1.
    Other floats are normal, integers 0 or 1, so that they are indices into anything.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    return {spec.name: _feed(spec, generator) for spec in inputs}


def _feed(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    shape = [size or 1 for size in spec.shape]
    if len(shape) == 4 and shape[1] in _CHANNELS and min(shape[2:]) >= _LEAST_SIDE:
        images = [natural_image((shape[2], shape[3], shape[1]), generator) for _ in range(shape[0])]
        return to_input(images, _CENTRED[shape[1]], "image" if spec.dtype == "uint8" else "tensor")
    if spec.dtype.startswith("float"):
        return generator.standard_normal(shape).astype(np.float32)
    return generator.integers(0, 2, shape)
