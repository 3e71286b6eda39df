"""Which weights are compressed, how, and why the others are not: decided before anything is written.

A weight that would grow, or that coremltools would skip, is never handed to it: what a converter does not touch it
cannot damage (coremltools#2777), and every exception is reported with its reason.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.compress.weights import Weight
from swiftdeploy.errors import UsageError
from swiftdeploy.recipe import BLOCK, Recipe, Scheme

_METADATA, _ALIGNMENT, _IN_PLACE = 64, 64, 10  # of weight.bin; shorter arrays stand in the program itself
_PIXEL_INPUT = "module_"
_LEAST_GROUP = 0.25  # of what was asked for: smaller groups cost more than they give


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """`schemes` of the weights to compress, by name, fitted to their shapes; `reasons` why others stay as they are."""

    recipe: Recipe
    schemes: Mapping[str, Scheme]
    reasons: Mapping[str, str]


def plan_weights(weights: Sequence[Weight], recipe: Recipe) -> Plan:
    """What the recipe makes of these weights. Raises UsageError where a pattern of it names none of them."""
    names = [name for weight in weights for name in names_of(weight)]
    strangers = recipe.unmatched(names)
    if strangers:
        near = difflib.get_close_matches(strangers[0], reversed(names), n=1, cutoff=0.4)
        raise UsageError(
            f"recipe {recipe.name}: {strangers[0]!r} is no weight of this network",
            hint=f"did you mean {near[0]!r}?" if near else "the manifest of any compressed artifact lists the names",
        )
    schemes, reasons = {}, {}
    for weight in weights:
        scheme = fitted(recipe.scheme(*names_of(weight)), weight)
        reason = _reason(scheme, weight, recipe.smallest)
        if reason:
            reasons[weight.name] = reason
        else:
            schemes[weight.name] = scheme
    return Plan(recipe=recipe, schemes=schemes, reasons=reasons)


def names_of(weight: Weight) -> tuple[str, ...]:
    """What a recipe may call a weight: its name, also without the word that the pixel input before the model adds.

    One recipe then serves --input tensor and --input image.
    """
    return tuple(dict.fromkeys((weight.name, weight.name.removeprefix(_PIXEL_INPUT))))


def fitted(scheme: Scheme, weight: Weight) -> Scheme:
    """The scheme with groups, or int4's blocks, that divide the weight's channels; group -1 where none does."""
    if scheme.form == "linear" and scheme.bits == 4:
        return dataclasses.replace(scheme, group=_divisor(weight, weight.input_axis, BLOCK))
    if scheme.group:
        return dataclasses.replace(scheme, group=_divisor(weight, weight.output_axis, scheme.group))
    return scheme


def stored_bytes(scheme: Scheme, shape: Sequence[int], output_axis: int = 0) -> int:
    """About how much of weight.bin a weight of this shape takes under a scheme, metadata and padding included.

    Exact for dense schemes; of a sparse one the number of zeros is known only afterwards (ties, and zeros there were).
    """
    count = math.prod(shape)
    kept = count - count * scheme.sparsity // 100
    mask = _blob(count, 1) if scheme.sparsity else 0
    values = mask + _blob(kept, scheme.bits)
    if scheme.form == "table":
        tables = shape[output_axis] // scheme.group if scheme.group else 1
        return values + _blob(tables * 2**scheme.bits, scheme.table_bits)
    if scheme.form == "linear":
        blocks = count // max(scheme.group, 1) if scheme.bits == 4 else shape[output_axis]
        return values + _blob(blocks, 16)
    return values


def _blob(count: int, bits: int) -> int:
    size = math.ceil(count * bits / 8)
    return 0 if count < _IN_PLACE else _METADATA + math.ceil(size / _ALIGNMENT) * _ALIGNMENT


def _divisor(weight: Weight, axis: int | None, wanted: int) -> int:
    if axis is None:
        return -1
    channels = weight.value.shape[axis]
    least = max(2, math.ceil(wanted * _LEAST_GROUP))
    return next((size for size in range(min(wanted, channels), least - 1, -1) if channels % size == 0), -1)


def _all_pruned(scheme: Scheme, weight: Weight) -> bool:
    """Whether nothing is larger than the last magnitude to go: ties are all pruned."""
    magnitudes = np.abs(weight.value).reshape(-1)
    return bool(magnitudes.max() <= border_of(scheme, magnitudes))


def border_of(scheme: Scheme, magnitudes: NDArray[Any]) -> float:
    """The last of the magnitudes that make up the share to prune."""
    pruned = -(-scheme.sparsity * magnitudes.size // 100)  # rounded up
    return float(np.partition(magnitudes, pruned - 1)[pruned - 1])


def _reason(scheme: Scheme, weight: Weight, smallest: int) -> str:
    """Why a weight stays as it is; empty where it is compressed."""
    value = weight.value
    if scheme.form == "float" and not scheme.sparsity:
        return "the recipe keeps it in fp16"
    if weight.nested:
        return "it lies in the body of a loop, as a GRU's do"
    if value.size <= smallest:
        return f"it has {value.size} values, no more than {smallest}"
    if weight.output_axis is None or weight.input_axis is None:
        return "the layers that share it disagree on its channels"
    if scheme.sparsity and _all_pruned(scheme, weight):
        return f"{scheme.sparsity} % sparse it would be all zeros: too many of its values are of one size"
    if scheme.group == -1:
        what = "input" if scheme.form == "linear" else "output"
        axis = weight.input_axis if scheme.form == "linear" else weight.output_axis
        return f"its {value.shape[axis]} {what} channels divide into no groups of a useful size"
    before = _blob(value.size, 16)
    after = stored_bytes(scheme, value.shape, weight.output_axis)
    if after >= before:
        shape = " of a depthwise layer" if weight.depthwise else ""
        return f"the tensor{shape} would take {after} bytes instead of {before}"
    return ""
