"""Rules on the dtype and shape of what an op reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swiftdeploy.mil.program import Operation, TensorType
from swiftdeploy.placement.rule import ANE_TRANSFORMERS, COREMLTOOLS_GUIDE, NE_RULES, Rule, each_op
from swiftdeploy.placement.scope import Scope
from swiftdeploy.report import Hit

MAX_RANK = 5
MAX_DIMENSION = 16384
MIN_LAST_AXIS = 32
_WIDE = ("fp32", "fp64")
_NATIVE = ("fp16", "int8", "int16")
_UNLISTED = ("bool", "uint8", "uint16")


def fp32(scope: Scope, operation: Operation) -> str:
    """A value wider than fp16, casts at inputs and outputs excepted."""
    return _dtype(scope, operation, lambda name: name in _WIDE)


def dtype(scope: Scope, operation: Operation) -> str:
    """A value of a dtype that is neither published for the engine nor near it."""
    known = (*_WIDE, *_NATIVE, *_UNLISTED)
    return _dtype(scope, operation, lambda name: name not in known)


def dtype_unlisted(scope: Scope, operation: Operation) -> str:
    """A value of a dtype of the right width that the published list does not name."""
    return _dtype(scope, operation, lambda name: name in _UNLISTED)


def _dtype(scope: Scope, operation: Operation, wrong: Callable[[str], bool]) -> str:
    if operation.name in scope.boundary_casts:
        return ""
    return _first(scope, operation, lambda kind: wrong(kind.dtype), lambda kind: f"is {kind.dtype}")


def rank(scope: Scope, operation: Operation) -> str:
    """A tensor of more axes than the engine has."""
    return _first(scope, operation, lambda kind: len(kind.shape) > MAX_RANK, lambda kind: f"has {len(kind.shape)} axes")


def dimension(scope: Scope, operation: Operation) -> str:
    """A tensor with an axis longer than any that was seen on the engine, weights among them."""
    for key, kind in _held(scope, operation):
        if _longest(kind) > MAX_DIMENSION:
            return f"its {key} has an axis of {_longest(kind)}"
    return _first(
        scope, operation, lambda kind: _longest(kind) > MAX_DIMENSION, lambda kind: f"has an axis of {_longest(kind)}"
    )


def dynamic_shape(scope: Scope, operation: Operation) -> str:
    """A size that only a run shows. Enumerated shapes leave sizes open in the file, and are known all the same."""
    features = scope.interface.inputs
    enumerated = any(feature.shapes for feature in features) and not any(feature.ranges for feature in features)
    return _first(
        scope,
        operation,
        lambda kind: not kind.ranked or (None in kind.shape and not enumerated),
        lambda kind: f"has the shape ({_sizes(kind)})" if kind.ranked else "has no known number of axes",
    )


def last_axis_singleton(scope: Scope, operation: Operation) -> str:
    """A long axis before a last one of 1. (B, C, 1, 1) is small whatever the padding."""

    def wasteful(kind: TensorType) -> bool:
        return len(kind.shape) >= 3 and kind.shape[-1] == 1 and (kind.shape[-2] or 2) > 1

    return _first(scope, operation, wasteful, lambda kind: f"has the shape ({_sizes(kind)})")


def last_axis_short(scope: Scope, operation: Operation) -> str:
    """An op's output, inside the program, whose last axis does not fill 64 bytes."""
    outside = set(scope.function.block.outputs)
    for output in operation.outputs:
        kind = scope.counter.types.get(output.name)
        if kind is not None and output.name not in outside and _is_short(kind):
            return f"its output has a last axis of {kind.shape[-1]}"
    return ""


def last_axis_io(scope: Scope) -> Iterable[Hit]:
    """Inputs and outputs of the program, as the program declares them; images are laid out by the system."""
    images = {feature.name for feature in scope.interface.inputs if feature.kind == "image"}
    given = [(value.name, "input") for value in scope.function.inputs if value.name not in images]
    for name, what in (*given, *((name, "output") for name in scope.function.block.outputs)):
        kind = scope.counter.types.get(name)
        if kind is not None and _is_short(kind):
            yield Hit(op=name, type=what, reason=f"of shape ({_sizes(kind)})")


def _first(
    scope: Scope, operation: Operation, wrong: Callable[[TensorType], bool], words: Callable[[TensorType], str]
) -> str:
    """What is wrong with the first tensor that is, inputs first."""
    written = {output.name for output in operation.outputs}
    for name, kind in scope.moving(operation):
        if wrong(kind):
            return f"its output {words(kind)}" if name in written else f"its input {name} {words(kind)}"
    return ""


def _held(scope: Scope, operation: Operation) -> Iterable[tuple[str, TensorType]]:
    for key, given in operation.inputs.items():
        for bound in given:
            kind = scope.type_of(bound)
            if kind is not None and scope.is_static(bound):
                yield key, kind


def _is_short(kind: TensorType) -> bool:
    """Whether the last axis is known, and known to be short."""
    return bool(kind.shape) and kind.shape[-1] is not None and kind.shape[-1] < MIN_LAST_AXIS


def _longest(kind: TensorType) -> int:
    return max((size for size in kind.shape if size is not None), default=0)


def _sizes(kind: TensorType) -> str:
    return ", ".join("?" if size is None else str(size) for size in kind.shape)


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-fp32",
        severity="error",
        says="an op that reads or writes float32, other than a cast at the model's inputs and outputs",
        origin="Apple",
        source=f"{COREMLTOOLS_GUIDE}, typed execution",
        confidence="high",
        remedy="export with --precision fp16; look for a constant beyond 65504 that keeps the op in float32",
        check=each_op(fp32),
    ),
    Rule(
        id="ane-dtype",
        severity="error",
        says="an op on another dtype than fp16, int8 and int16",
        origin="Apple",
        source=NE_RULES,
        confidence="high",
        remedy="keep indices and counts out of the graph, or do that part in the app",
        check=each_op(dtype),
    ),
    Rule(
        id="ane-dtype-unlisted",
        severity="warning",
        says="an op on bool or an unsigned dtype, which the published list does not name",
        origin="Apple",
        source=NE_RULES,
        confidence="low",
        remedy="where it is a mask, multiply by an fp16 one; measure on the device",
        check=each_op(dtype_unlisted),
    ),
    Rule(
        id="ane-rank",
        severity="error",
        says="a tensor of more than 5 axes",
        origin="Apple",
        source=NE_RULES,
        confidence="high",
        remedy="fold axes together before the op, and unfold them after it",
        check=each_op(rank),
    ),
    Rule(
        id="ane-dimension",
        severity="error",
        says="an axis longer than 16384",
        origin="community",
        source="onnxruntime#19543; ncdrone/rustane#13, a systematic probe",
        confidence="medium",
        remedy="split the axis: several convolutions, then a concat",
        check=each_op(dimension),
    ),
    Rule(
        id="ane-dynamic-shape",
        severity="error",
        says="a size that is not known before the run (enumerated input shapes are known)",
        origin="Apple",
        source=NE_RULES,
        confidence="high",
        remedy="fix the input's shape, or enumerate the shapes that the app needs",
        check=each_op(dynamic_shape),
    ),
    Rule(
        id="ane-last-axis-io",
        severity="warning",
        says="an input or output whose last axis has fewer than 32 elements",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="lay it out as (B, C, 1, S) with S of 32 or more; a vector of scores costs little",
        check=last_axis_io,
    ),
    Rule(
        id="ane-last-axis-singleton",
        severity="warning",
        says="a tensor (…, S, 1): its last axis is padded to 64 bytes, 32 times its size in fp16",
        origin="Apple",
        source=ANE_TRANSFORMERS,
        confidence="high",
        remedy="swap the last two axes: (…, 1, S)",
        check=each_op(last_axis_singleton),
    ),
    Rule(
        id="ane-last-axis-short",
        severity="note",
        says="an intermediate tensor whose last axis has fewer than 32 elements, padded to 64 bytes in memory",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="nothing for small maps; for large ones put the longest axis last",
        check=each_op(last_axis_short),
    ),
)
