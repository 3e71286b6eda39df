"""The ways in which an app's preprocessing is known to go wrong, each as the input that the oracle would then see.

What an artifact answers is compared with the oracle's answers to each of these inputs: the mistake that reproduces the
artifact's numbers is the one that was made.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.spec import Preprocessing

Array = NDArray[np.floating]
# (what it is called, mean, std) of pixels in 0..1, as other people's models use them.
_CONSTANTS = (
    ("ImageNet's", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("-1 to 1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("CLIP's", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ("EfficientNet-Lite's", (127 / 255,) * 3, (128 / 255,) * 3),
)
_MARGINS = (1.0, 0.95, 0.9, 0.875)  # the crop's share of the resized shorter side, as timm's models state it


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step on arrays (N, C, H, W), done otherwise; `fact` is empty for the right way."""

    fact: str
    apply: Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Resizing and cropping, done otherwise; `fact` is empty for the right way."""

    fact: str
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A combination of steps of which some are wrong."""

    steps: tuple[Shape, Step, Step]
    pictures: tuple[Image.Image, ...]
    size: tuple[int, int]

    @property
    def facts(self) -> tuple[str, ...]:
        """What is wrong, a sentence each."""
        return tuple(step.fact for step in self.steps if step.fact)

    def inputs(self) -> Array:
        """The model's input (N, C, H, W) that comes of it."""
        shape, order, values = self.steps
        pixels = np.stack([fit(picture, self.size, shape.preprocessing) for picture in self.pictures])
        arranged = pixels.astype(np.float32).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values.apply(order.apply(arranged)), np.float32)


def mistakes(pictures: Sequence[Image.Image], size: tuple[int, int], preprocessing: Preprocessing) -> Iterator[Mistake]:
    """Every known mistake for these pictures, the single ones before pairs of them."""
    steps = itertools.product(_shapes(preprocessing), _orders(preprocessing), _values(preprocessing))
    made = [Mistake(steps=combination, pictures=tuple(pictures), size=size) for combination in steps]
    yield from (mistake for count in (1, 2) for mistake in made if len(mistake.facts) == count)


def _shapes(right: Preprocessing) -> tuple[Shape, ...]:
    """Resizing and cropping: other filters, a squash for a crop, a crop for a squash, another margin."""
    sides = dict.fromkeys(int(right.crop / margin) for margin in _MARGINS)
    ways = [Shape(fact="", preprocessing=right)]
    if right.squash:
        for side in sides:
            text = f"the centre is cropped from a shorter side of {side} px instead of squashing the whole image"
            ways.append(Shape(fact=text, preprocessing=replace(right, squash=False, resize=side)))
    else:
        text = "the whole image is squashed to the input's size instead of cropping its centre"
        ways.append(Shape(fact=text, preprocessing=replace(right, squash=True, resize=right.crop)))
        for side in [side for side in sides if side != right.resize]:
            text = f"the shorter side is resized to {side} px instead of {right.resize} px before cropping"
            ways.append(Shape(fact=text, preprocessing=replace(right, resize=side)))
    text = f"images are resized with another filter than the {right.interpolation} one"
    others = [
        Shape(fact="; ".join(filter(None, (way.fact, text))), preprocessing=_other_filter(way.preprocessing))
        for way in ways
    ]
    return (*ways, *others)


def _other_filter(preprocessing: Preprocessing) -> Preprocessing:
    return replace(preprocessing, interpolation="bilinear" if preprocessing.interpolation == "bicubic" else "bicubic")


def _orders(right: Preprocessing) -> tuple[Step, ...]:
    ways = (Step(fact="", apply=lambda x: x),)
    if len(right.mean) < 3:
        return ways
    return (*ways, Step(fact="the colours are in the order BGR instead of RGB", apply=lambda x: x[:, ::-1]))


def _values(right: Preprocessing) -> tuple[Step, ...]:
    """Scaling and normalising: left out, done twice, done by halves, or with other constants."""
    mean, std = _column(right.mean), _column(right.std)

    def normalised(x: Array) -> Array:
        return _normalised(x, mean, std)

    def from_pixels(x: Array) -> Array:
        return (x - 255 * mean) / (255 * std)

    ways = [
        Step(fact="", apply=normalised),
        Step(fact="normalisation is missing: pixels are scaled to 0..1, mean and std are not applied", apply=_scaled),
        Step(fact="scaling and normalisation are missing: pixels 0 to 255 arrive as they are", apply=lambda x: x),
        Step(
            fact="the input is normalised twice: mean and std are applied to what is normalised already",
            apply=lambda x: (normalised(x) - mean) / std,
        ),
        Step(
            fact="the input is normalised twice: the model expects pixels, and gets what is normalised already",
            apply=lambda x: from_pixels(normalised(x)),
        ),
        Step(
            fact="pixels are scaled twice: by 1/255 and, by what expects 0 to 255, once more",
            apply=lambda x: normalised(x / 255),
        ),
        Step(fact="mean and std, meant for 0..1, are applied to pixels 0 to 255", apply=lambda x: (x - mean) / std),
        Step(fact="the mean is missing: only std is applied", apply=lambda x: x / 255 / std),
        Step(fact="the std is missing: only the mean is applied", apply=lambda x: x / 255 - mean),
    ]
    if len(set(right.mean)) > 1 or len(set(right.std)) > 1:
        text = "mean and std are in the order BGR instead of RGB"
        ways.append(Step(fact=text, apply=lambda x: (x / 255 - mean[:, ::-1]) / std[:, ::-1]))
    for name, other_mean, other_std in _CONSTANTS:
        if len(right.mean) == 3 and not np.allclose((*right.mean, *right.std), (*other_mean, *other_std), atol=1e-3):
            text = f"mean and std are {name} ({_text(other_mean)} and {_text(other_std)}), not the model's"
            m, s = _column(other_mean), _column(other_std)
            ways.append(Step(fact=text, apply=functools.partial(_normalised, mean=m, std=s)))
    return tuple(ways)


def _normalised(x: Array, mean: Array, std: Array) -> Array:
    return (x / 255 - mean) / std


def _scaled(x: Array) -> Array:
    return x / 255


def _column(values: Sequence[float]) -> Array:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _text(values: Sequence[float]) -> str:
    return "/".join(f"{value:.3g}" for value in dict.fromkeys(values))
