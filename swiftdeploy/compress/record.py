"""What a plan did to each tensor, for the manifest: bytes as they lie in the file, and how far the values moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.compress.dense import SUFFIXES
from swiftdeploy.compress.plan import Plan
from swiftdeploy.compress.weights import Weight, walk
from swiftdeploy.mil import reader
from swiftdeploy.mil.program import Constant, Operation, TensorType
from swiftdeploy.mil.weights import PACKED_BITS, STORED
from swiftdeploy.report import CompressedTensor, KeptTensor

Arrays = Mapping[str, NDArray[Any]]


def tensor_records(package: Path, weights: Sequence[Weight], plan: Plan, after: Arrays) -> tuple[CompressedTensor, ...]:
    """One record for each compressed weight, in the program's order; `after` are the decompressed ones."""
    sizes = stored_sizes(package)
    return tuple(
        _record(weight, plan.schemes[weight.name].name, plan.schemes[weight.name].group, sizes, after[weight.name])
        for weight in weights
        if weight.name in plan.schemes
    )


def kept(weights: Sequence[Weight], plan: Plan) -> tuple[KeptTensor, ...]:
    """The weights that stay as they are, with the reason."""
    return tuple(
        KeptTensor(name=weight.name, reason=plan.reasons[weight.name], bytes=weight.value.nbytes)
        for weight in weights
        if weight.name in plan.reasons
    )


def stored_sizes(package: Path) -> dict[str, int]:
    """Bytes of everything that each compressed weight is made from (codes, scales, tables, masks), by its constant."""
    program = reader.read_program(package)
    operations = tuple(walk(program.functions[program.default_function].block))
    makers = {output.name: operation for operation in operations for output in operation.outputs}
    used = {binding for o in operations if _constexpr(o) for bindings in o.inputs.values() for binding in bindings}
    ends = [o for o in operations if _constexpr(o) and not any(output.name in used for output in o.outputs)]
    return {end.outputs[0].name: sum(_sizes(end, makers).values()) for end in ends}


def _record(weight: Weight, scheme: str, group: int, sizes: Mapping[str, int], after: NDArray[Any]) -> CompressedTensor:
    size = next(sizes[name] for name in (weight.constant, *(weight.constant + s for s in SUFFIXES)) if name in sizes)
    before, now = weight.value.astype(np.float64), after.astype(np.float64)
    error = float(np.sqrt(np.mean(np.square(now - before))))
    peak, norm = float(np.abs(before).max(initial=0.0)), float(np.linalg.norm(before))
    return CompressedTensor(
        name=weight.name,
        scheme=scheme,
        group=group,
        shape=weight.value.shape,
        bytes_before=weight.value.nbytes,
        bytes_after=size,
        psnr_db=20.0 * float(np.log10(peak / error)) if error and peak else None,
        relative_l2=float(np.linalg.norm(now - before)) / norm if norm else 0.0,
    )


def _constexpr(operation: Operation) -> bool:
    return operation.type.startswith("constexpr_")


def _sizes(operation: Operation, makers: Mapping[str, Operation]) -> dict[bytes, int]:
    """Bytes by the constant's content: a mask that two ops of one chain read is stored once."""
    found: dict[bytes, int] = {}
    for key, bindings in operation.inputs.items():
        for binding in bindings:
            if isinstance(binding, str):
                found.update(_sizes(makers[binding], makers))
            elif isinstance(binding, Constant) and key not in ("shape", "axis", "vector_axis", "name"):
                found[np.asarray(binding.value).tobytes()] = _bytes(binding)
    return found


def _bytes(constant: Constant) -> int:
    if not isinstance(constant.value, np.ndarray) or not isinstance(constant.type, TensorType):
        return 0
    bits = PACKED_BITS.get(constant.type.dtype) or 8 * STORED[constant.type.dtype].itemsize
    return -(-int(constant.value.size) * bits // 8)
