"""What Core ML's `predict` does around a program: arrays and images in, arrays, images and classes out.

In: what a user gives by name. Out: carried values (see `numerics`), and back. An input that does not fit is a
ModelError that says what would. The conventions are those of coremltools' `MLModel.predict`: a half-precision output
comes back as float32, a scalar with the shape (1,), an image as a PIL image, a class as str or int, its probabilities
as a dict.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swiftdeploy.errors import ArtifactError, ModelError
from swiftdeploy.mil import numerics
from swiftdeploy.mil.kernels.registry import Value
from swiftdeploy.mil.program import Feature, NamedType, TensorType

_MODES = {"RGB": "RGB", "BGR": "RGB", "GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}
_WIDEST = {"float16": np.dtype(np.float32)}


def check_names(given: Iterable[str], features: tuple[Feature, ...]) -> None:
    """Raise ModelError for a name that is no input, or an input that is not given and not optional."""
    known = [feature.name for feature in features]
    names = list(given)
    for name in names:
        if name not in known:
            # With no cutoff there is always a nearest name, and few inputs to choose from.
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
            hint = f"did you mean {near[0]!r}? the inputs are {', '.join(known)}" if near else "it takes no input"
            raise ModelError(f"there is no input {name!r}", hint=hint)
    for feature in features:
        if feature.name not in names and not feature.optional:
            near = difflib.get_close_matches(feature.name, [str(name) for name in names], n=1)
            hint = f"{near[0]!r} was given" if near else f"give {feature.name!r}: {describe(feature)}"
            raise ModelError(f"the input {feature.name!r} is missing", hint=hint)


def describe(feature: Feature) -> str:
    """One input or output in words: kind, dtype and the shapes or sizes (height x width) that it takes."""
    if feature.kind not in ("array", "image", "state"):
        return feature.kind
    what = f"{feature.color} image" if feature.kind == "image" else f"{feature.dtype} array"
    if feature.shapes:
        return f"{what} of one of the shapes {', '.join(str(shape) for shape in feature.shapes)}"
    if feature.ranges:
        limits = " x ".join(
            str(low) if low == high else f"{low}..{high if high >= 0 else ''}" for low, high in feature.ranges
        )
        return f"{what} of shape {limits}"
    return f"{what} of shape {(feature.height, feature.width) if feature.kind == 'image' else feature.shape}"


def to_value(given: Any, feature: Feature, declared: NamedType) -> Value:
    """What is given for one input, as the function takes it: checked, converted, rounded to its declared dtype.

    `given` is an array (numpy, torch, nested lists, a number) or, for an image, a PIL image or a uint8 array of shape
    (height, width[, channels]) in RGB order. Raises ModelError where it does not fit.
    """
    dtype = numerics.TORCH_DTYPES.get(declared.type.dtype) if isinstance(declared.type, TensorType) else None
    if dtype is None or not isinstance(declared.type, TensorType):
        raise ArtifactError(
            f"the input {declared.name!r} is of a type that no input has", hint="export the model again"
        )
    array = _image(given, feature) if feature.kind == "image" else _array(given, feature)
    # Core ML has no scalar features: a scalar of the program is an array of one number outside.
    if declared.type.shape == () and array.size == 1:
        array = array.reshape(())
    if len(array.shape) != len(declared.type.shape):
        raise ArtifactError(
            f"the input {feature.name!r} has rank {array.ndim}, its function takes {len(declared.type.shape)}",
            hint="the package's description and its program do not agree; export the model again",
        )
    # A view of a caller's read-only array (a PIL image is one) would make torch warn.
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    # Apple's own tests pass whole numbers as floats, so that these must do; a fraction would be lost without a word.
    if not dtype.is_floating_point and tensor.dtype.is_floating_point:
        _check_whole(array, feature)
    return numerics.settle(tensor, dtype)


def default_value(feature: Feature, declared: NamedType) -> Value:
    """An optional input's value where none is given: its default, or zeros, in its default shape."""
    return to_value(np.full(feature.shape, feature.default or 0.0, dtype=np.float32), feature, declared)


def from_value(value: Value, feature: Feature) -> Any:
    """One output as `predict` gives it: a fresh array, or a PIL image, str, int, float or dict."""
    if isinstance(value, Tensor):
        if feature.kind == "image":
            return _to_image(value, feature)
        if feature.kind == "array":
            dtype = _WIDEST.get(feature.dtype, np.dtype(feature.dtype))
            # A copy, since the value may be a view of an input, a weight or a state.
            array = np.array(value.numpy(), dtype=dtype, order="C", copy=True)
            return array.reshape(1) if array.ndim == 0 else array
        if feature.kind in ("int64", "double"):
            return value.item()
    elif feature.kind == "dictionary" and isinstance(value, Mapping):
        return dict(value)
    elif feature.kind in ("string", "int64") and isinstance(value, str | int):
        return value
    raise ArtifactError(f"the output {feature.name!r} is declared as {feature.kind}", hint="export the model again")


def _array(given: Any, feature: Feature) -> np.ndarray:
    raw = given.detach().cpu() if isinstance(given, Tensor) else given
    try:
        array = np.asarray(raw.float() if isinstance(raw, Tensor) and raw.dtype is torch.bfloat16 else raw)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"the input {feature.name!r} is no array: {error}", hint=f"give a {describe(feature)}"
        ) from error
    if array.dtype.kind not in "fiub":
        raise ModelError(
            f"the input {feature.name!r} is given as {array.dtype}, not as numbers", hint=f"give a {describe(feature)}"
        )
    if array.ndim == 0 and feature.shape == (1,):
        array = array.reshape(1)
    if not _fits(array.shape, feature.shape, feature):
        raise ModelError(
            f"the input {feature.name!r} is given with shape {array.shape}", hint=f"give a {describe(feature)}"
        )
    # ascontiguousarray gives a scalar an axis, which reshape takes away again.
    kind = np.float32 if array.dtype.kind == "f" else np.bool_ if array.dtype.kind == "b" else np.int64
    return np.ascontiguousarray(array, dtype=kind).reshape(array.shape)


def _check_whole(array: np.ndarray, feature: Feature) -> None:
    if not np.isfinite(array).all() or not (array == np.trunc(array)).all():
        raise ModelError(
            f"the input {feature.name!r} takes whole numbers and is given others", hint=f"give a {describe(feature)}"
        )


def _fits(shape: tuple[int, ...], default: tuple[int, ...], feature: Feature) -> bool:
    if feature.shapes:
        return shape in feature.shapes or shape == default
    if feature.ranges:
        return len(shape) == len(feature.ranges) and all(
            low <= size and (high < 0 or size <= high) for size, (low, high) in zip(shape, feature.ranges, strict=True)
        )
    return shape == default


def _image(given: Any, feature: Feature) -> np.ndarray:
    """Planes (1, channels, height, width) of values 0..255, in the order of the declared color space."""
    mode = _MODES[feature.color]
    found = getattr(given, "mode", None)
    if found is not None and found != mode:
        raise ModelError(f"the image {feature.name!r} has mode {found}", hint=f"use image.convert({mode!r})")
    pixels = np.asarray(given)
    wanted = (np.dtype(np.uint8),) if mode != "F" else (np.dtype(np.float32), np.dtype(np.float16))
    if pixels.dtype not in wanted:
        hint = f"give a PIL image of mode {mode} or an array of {wanted[0]} of shape (height, width, channels)"
        raise ModelError(f"the image {feature.name!r} is given as {pixels.dtype}", hint=hint)
    if mode != "RGB" and pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] != len(mode):
        hint = f"give (height, width, {len(mode)}), channels last"
        raise ModelError(f"the image {feature.name!r} is given with shape {pixels.shape}", hint=hint)
    if not _fits(pixels.shape[:2], (feature.height, feature.width), feature):
        height, width = pixels.shape[:2]
        raise ModelError(
            f"the image {feature.name!r} is {width} wide and {height} high", hint=f"resize it to a {describe(feature)}"
        )
    # PIL has no BGR mode: a picture is always given as RGB, and BGR is the order of the planes that the program takes.
    planes = pixels.transpose(2, 0, 1)[None]
    ordered = planes[:, ::-1] if feature.color == "BGR" else planes
    return np.ascontiguousarray(ordered, dtype=np.float32)


def _to_image(value: Tensor, feature: Feature) -> Any:
    """A PIL image: RGBA with an opaque alpha, L or F, as coremltools makes it from Core ML's pixel buffer.

    How Core ML rounds a fraction is not documented; here values are clamped to 0..255 and rounded to nearest.
    """
    from PIL import Image

    planes = value.numpy().reshape(-1, *value.shape[-2:])
    if feature.color == "GRAYSCALE_FLOAT16":
        return Image.fromarray(planes[0].astype(np.float32))
    pixels = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    if feature.color == "GRAYSCALE":
        return Image.fromarray(pixels[0])
    ordered = pixels[::-1] if feature.color == "BGR" else pixels
    opaque = np.full((1, *ordered.shape[1:]), 255, dtype=np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([ordered, opaque]).transpose(1, 2, 0)))
