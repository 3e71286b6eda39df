"""Whether a compressed package's weights are what its schemes promise, and its other tensors what they were.

The bounds follow from the scheme and the original weights alone, not from what the package says of its scales and
tables: a wrong scale or a changed table entry breaks them. numpy only; the compressed side comes decompressed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.compress.plan import Plan
from swiftdeploy.compress.weights import Weight, array_of, walk
from swiftdeploy.mil import reader
from swiftdeploy.recipe import Scheme

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_ROUNDING = 2.0**-9  # scale, table and product are each rounded to fp16, by 2**-11 at most
_TINY = 2.0**-25  # half of fp16's smallest step


def check_weights(package: Path, weights: Sequence[Weight], plan: Plan, before: Arrays, after: Arrays) -> list[str]:
    """What is wrong with the package, one line a tensor; empty where all is well.

    `weights` and `before` are the uncompressed package's, `after` what the compressed one's are worth (see `dense`).
    """
    known = {weight.name: weight for weight in weights}
    masks = _masks(package)
    problems = [f"{name}: the uncompressed package has no such tensor" for name in after if name not in before]
    for name, value in before.items():
        found = after.get(name)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else f"shape {found.shape}"
            problems.append(f"{name}: {shape} where {value.shape} was")
        elif name in plan.schemes:
            weight = known[name]
            reason = scheme_problem(plan.schemes[name], value, found, weight, masks.get(weight.constant))
            problems += [f"{name}: {reason}"] if reason else []
        elif value.dtype != found.dtype or value.tobytes() != found.tobytes():
            reason = plan.reasons.get(name, "it is no weight of a layer")
            problems.append(f"{name}: it changed, and should not have: {reason} (see coremltools#2777)")
    return problems


def scheme_problem(scheme: Scheme, original: Array, found: Array, weight: Weight, mask: Array | None) -> str:
    """How `found` breaks what the scheme promises of `original`; empty where it does not."""
    wide, close = original.astype(np.float64), found.astype(np.float64)
    if not np.isfinite(close).all():
        return "NaN or Inf"
    if scheme.sparsity:
        if mask is None:
            return "no mask says which values are 0"
        kept = mask.reshape(original.shape) != 0
        if reason := _sparse_problem(scheme, wide, close, kept):
            return reason
        wide = np.where(kept, wide, 0.0)
    else:
        kept = np.ones(original.shape, bool)
    if scheme.form == "float":
        return "" if np.array_equal(wide, close) else "a value that was kept changed"
    if scheme.form == "linear":
        return _linear_problem(scheme, wide, close, weight)
    return _table_problem(scheme, wide, close, kept, weight.output_axis or 0)


def _sparse_problem(scheme: Scheme, wide: Array, close: Array, kept: Array) -> str:
    pruned = int(kept.size - np.count_nonzero(kept))
    if 100 * pruned < scheme.sparsity * kept.size:  # more is no fault: ties at the border are all pruned
        return f"{100 * pruned / kept.size:.3g} % of its values are 0, {scheme.sparsity} % were wanted"
    if np.any(close[~kept]):
        return "a value that the mask leaves out is not 0"
    border = float(np.abs(wide[~kept]).max(initial=0.0))
    smallest = float(np.abs(wide[kept]).min(initial=np.inf))
    return "" if smallest >= border else f"{smallest:.3g} was kept and {border:.3g} became 0"


def _linear_problem(scheme: Scheme, wide: Array, close: Array, weight: Weight) -> str:
    """Each value is at most half a step away, a step being what its channel's or block's largest value takes."""
    output, inner = weight.output_axis or 0, weight.input_axis or 0
    peak = _peaks(wide, output, inner, scheme.group if scheme.bits == 4 else 0)
    step = peak / (2 ** (scheme.bits - 1) - 1)
    # The scale itself is in fp16, and its error counts as often as the code says.
    excess = np.abs(wide - close) - (0.5 * step + peak * _ROUNDING + 2 ** (scheme.bits - 1) * _TINY)
    return _worst(excess, wide, close, "by more than half a step")


def _peaks(wide: Array, output: int, inner: int, block: int) -> Array:
    """The largest magnitude of each value's channel, or of its block of input channels, in the shape of `wide`."""
    moved = np.abs(np.moveaxis(wide, (output, inner), (0, 1)))
    flat = moved.reshape(*moved.shape[:2], -1)
    size = block or flat.shape[1]
    blocks = flat.reshape(flat.shape[0], -1, size * flat.shape[2]).max(axis=2)
    spread = np.repeat(blocks, size, axis=1).reshape(*moved.shape[:2], *([1] * (moved.ndim - 2)))
    return np.broadcast_to(np.moveaxis(np.broadcast_to(spread, moved.shape), (0, 1), (output, inner)), wide.shape)


def _table_problem(scheme: Scheme, wide: Array, close: Array, kept: Array, axis: int) -> str:
    """Each group has no more values than a table, and each weight the nearest of them."""
    groups = wide.shape[axis] // scheme.group if scheme.group else 1
    parts = [np.split(np.moveaxis(array, axis, 0), groups) for array in (wide, close, kept)]
    for originals, values, used in zip(*parts, strict=True):
        chosen, wanted = values[used], originals[used]
        entries = np.unique(chosen)
        if len(entries) > 2**scheme.bits:
            return f"{len(entries)} different values, a table of {scheme.bits} bits has {2**scheme.bits}"
        # An 8-bit table moves every entry by up to half a step after the choice was made.
        moved = float(np.abs(entries).max(initial=0.0)) / 127.0 if scheme.table_bits == 8 else 0.0
        # Entries are rounded to fp16 after the choice, too; none that matters is larger than this sum.
        slack = moved + (np.abs(wanted) + np.abs(wanted - chosen)) * _ROUNDING + _TINY
        excess = np.abs(wanted - chosen) - _to_nearest(wanted, entries) - slack
        if reason := _worst(excess, wanted, chosen, "and another entry of the table is nearer"):
            return reason
    return ""


def _to_nearest(values: Array, entries: Array) -> Array:
    right = np.clip(np.searchsorted(entries, values), 0, len(entries) - 1)
    left = np.maximum(right - 1, 0)
    return np.minimum(np.abs(values - entries[left]), np.abs(values - entries[right]))


def _worst(excess: Array, wide: Array, close: Array, what: str) -> str:
    if excess.size == 0 or float(excess.max()) <= 0.0:
        return ""
    place = int(np.argmax(excess))
    return f"{wide.flat[place]:.4g} became {close.flat[place]:.4g}, {what} ({int((excess > 0).sum())} values)"


def _masks(package: Path) -> dict[str, Array]:
    """The bits that say which values a sparse weight keeps, by the constant's name; flat, or in the weight's shape."""
    program = reader.read_program(package)
    operations = tuple(walk(program.functions[program.default_function].block))
    makers = {output.name: operation for operation in operations for output in operation.outputs}
    found = {}
    for operation in operations:
        if operation.type == "constexpr_sparse_to_dense":
            name = operation.outputs[0].name.removesuffix("_sparsified")
            for mask in _mask(operation.inputs, makers):
                found[name] = mask
    return found


def _mask(inputs: Mapping[str, tuple[Any, ...]], makers: Mapping[str, Any]) -> Iterator[Array]:
    binding: Any = inputs["mask"][0]
    while isinstance(binding, str):  # a constant, or the same mask passed on by a joint scheme's first op
        maker = makers[binding].inputs
        binding = next(maker[key][0] for key in ("val", "indices_mask", "data_mask") if key in maker)
    bits = array_of(binding)
    if bits is None:
        return
    shape = array_of(inputs["shape"][0]) if "shape" in inputs else None
    # Up to iOS17 the bits are packed into bytes, the lowest first.
    yield bits if shape is None else np.unpackbits(bits, bitorder="little", count=int(np.prod(shape)))
