"""The images that parity is measured on: seeded, made here, the same on every machine.

Images are uint8 arrays (height, width, channels). `to_input` turns them into what the model takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.spec import InputKind, Preprocessing

Image = NDArray[np.uint8]
NATURAL_SLOPE = 1.0  # natural scenes: amplitude falls as 1/frequency (Field 1987)
NATURAL_MEAN, NATURAL_STD = 117.0, 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with the name that reports call it by."""

    name: str
    image: Image


def synthetic(size: tuple[int, int], channels: int, *, natural: int = 4, seed: int = 0) -> tuple[Sample, ...]:
    """Images of `size` (height, width): natural statistics, white noise, and the constants 0 and 255."""
    shape = (*size, channels)
    generator = np.random.Generator(np.random.PCG64(seed))
    scenes = [Sample(name=f"natural_{i}", image=natural_image(shape, generator)) for i in range(natural)]
    noise = Sample(name="white_noise", image=generator.integers(0, 256, shape, dtype=np.uint8))
    flat = [Sample(name=f"constant_{v}", image=np.full(shape, v, np.uint8)) for v in (0, 255)]
    return (*scenes, noise, *flat)


def natural_image(shape: tuple[int, int, int], generator: np.random.Generator) -> Image:
    """An image with the amplitude spectrum of natural scenes and channels that mostly agree, as colours do."""
    height, width, channels = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    envelope = frequency**-NATURAL_SLOPE

    def field() -> NDArray[np.float64]:
        spectrum = np.fft.fft2(generator.standard_normal((height, width))) * envelope
        values = np.fft.ifft2(spectrum).real
        return values / (values.std() or 1.0)

    luminance = field()
    planes = [0.9 * luminance + 0.44 * field() for _ in range(channels)]
    return np.clip(np.stack(planes, axis=-1) * NATURAL_STD + NATURAL_MEAN, 0, 255).round().astype(np.uint8)


def to_input(images: Sequence[Image], preprocessing: Preprocessing, kind: InputKind) -> NDArray[np.float32]:
    """The model's input (N, C, H, W), float32: normalised for "tensor", pixels 0 to 255 for "image"."""
    pixels = np.stack(images).astype(np.float32).transpose(0, 3, 1, 2)
    if kind == "image":
        return np.ascontiguousarray(pixels)
    mean = np.asarray(preprocessing.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.asarray(preprocessing.std, np.float32).reshape(1, -1, 1, 1)
    return np.ascontiguousarray((pixels / np.float32(255.0) - mean) / std)
