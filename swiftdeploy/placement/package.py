"""Rules on the package as a whole: its size, its inputs and states, and how its weights are stored."""

from __future__ import annotations

from collections.abc import Iterable

from swiftdeploy.mil.program import Operation, StateType
from swiftdeploy.placement.cost import weights_of
from swiftdeploy.placement.rule import ANE_BOOK, COREMLTOOLS_GUIDE, Rule, each_op
from swiftdeploy.placement.scope import Scope
from swiftdeploy.report import Hit

MAX_PACKAGE = 10**9  # bytes
MANY_WEIGHTS = 250 * 10**6  # bytes
MAX_ENUMERATED = 128
STATE_WIDTH = 32
FEW_WEIGHTS = 50_000
_PREPROCESSING = ("mul", "add", "sub", "real_div")
_FOUR_BITS = ("int4", "uint4")


def package_size(scope: Scope) -> Iterable[Hit]:
    """All files of the package."""
    if scope.package_bytes > MAX_PACKAGE:
        yield Hit(op="", type="package", reason=f"{scope.package_bytes / 1e9:.2f} GB")


def weights_size(scope: Scope) -> Iterable[Hit]:
    """The weight files alone."""
    if scope.weight_bytes > MANY_WEIGHTS:
        yield Hit(op="", type="package", reason=f"{scope.weight_bytes / 1e6:.0f} MB of weights")


def range_dim(scope: Scope) -> Iterable[Hit]:
    """Inputs whose sizes are a range. One of equal ends is no range."""
    for feature in scope.interface.inputs:
        spans = ["..".join(map(str, ends)) for ends in feature.ranges if ends[0] != ends[1]]
        if spans:
            yield Hit(op=feature.name, type="input", reason=f"sizes {', '.join(spans)}")


def enumerated_shapes(scope: Scope) -> Iterable[Hit]:
    """Inputs of more shapes than are promised to stay on the engine."""
    for feature in scope.interface.inputs:
        if len(feature.shapes) > MAX_ENUMERATED:
            yield Hit(op=feature.name, type="input", reason=f"{len(feature.shapes)} shapes")


def enumerated_layer_norm(scope: Scope, operation: Operation) -> str:
    """A layer_norm whose input has more than one shape."""
    shapes = [len(feature.shapes) for feature in scope.interface.inputs if feature.shapes]
    return f"the input has {shapes[0]} shapes" if shapes and operation.type == "layer_norm" else ""


def image_preprocessing(scope: Scope) -> Iterable[Hit]:
    """Arithmetic in float32 between an image input and the first other op."""
    images = {feature.name for feature in scope.interface.inputs if feature.kind == "image"}
    reached = set(images)
    for op in scope.judged:
        reads = {bound for given in op.inputs.values() for bound in given if isinstance(bound, str)}
        wide = all(scope.counter.dtype(output.name) == "fp32" for output in op.outputs)
        if op.type in _PREPROCESSING and wide and reads & reached:
            reached.update(output.name for output in op.outputs)
            yield Hit(op=op.name, type=op.type, reason=f"{op.type} in fp32 on the image")


def io_cast(scope: Scope, operation: Operation) -> str:
    """A cast that only changes the dtype in which the app gives or gets a value."""
    if operation.name not in scope.boundary_casts:
        return ""
    kinds = [kind.dtype for _, kind in scope.moving(operation)]
    return f"from {kinds[0]} to {kinds[-1]}"


def state_width(scope: Scope) -> Iterable[Hit]:
    """The last axis of each state."""
    for value in scope.function.inputs:
        shape = value.type.tensor.shape if isinstance(value.type, StateType) else ()
        if shape and shape[-1] is not None and shape[-1] % STATE_WIDTH:
            yield Hit(op=value.name, type="state", reason=f"its last axis is {shape[-1]}")


def int4_block(scope: Scope, operation: Operation) -> str:
    """Weights of 4 bits that share a scale with a part of an axis."""
    for key in operation.inputs:
        packed = scope.packed_by(operation, key)
        if packed is None or packed.type != "constexpr_blockwise_shift_scale":
            continue
        data = scope.bound(packed, "data")
        kind = None if data is None else scope.type_of(data)
        if kind is None or kind.dtype not in _FOUR_BITS:
            continue
        pairs = zip(kind.shape, scope.shape(packed, "scale"), strict=True)
        blocks = [size // scales for size, scales in pairs if size and scales and 1 < scales < size]
        if blocks:
            return f"{key} is {kind.dtype} in blocks of {blocks[0]}"
    return ""


def tiny(scope: Scope) -> Iterable[Hit]:
    """How many weights the program holds."""
    stored = {key: size for op in scope.operations for key, size in weights_of(scope, op).items()}
    count = sum(size.values for size in stored.values())
    if count <= FEW_WEIGHTS:
        yield Hit(op="", type="package", reason=f"{count:,} weights")


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-package-size",
        severity="error",
        says="a package of more than 1 GB",
        origin="Apple",
        source=f"{COREMLTOOLS_GUIDE}, model utilities",
        confidence="high",
        remedy="compress the weights, or cut the model in two (coremltools' bisect_model)",
        check=package_size,
    ),
    Rule(
        id="ane-weights-size",
        severity="warning",
        says="weight files of more than 250 MB",
        origin="community",
        source=ANE_BOOK,
        confidence="low",
        remedy="compress the weights, or cut the model in two",
        check=weights_size,
    ),
    Rule(
        id="ane-range-dim",
        severity="warning",
        says="an input whose sizes are a range",
        origin="Apple",
        source=f"{COREMLTOOLS_GUIDE}, flexible input shapes",
        confidence="high",
        remedy="enumerate up to 128 shapes; from iOS 17.4, reshapeFrequency = .infrequent may help",
        check=range_dim,
    ),
    Rule(
        id="ane-enumerated-shapes",
        severity="error",
        says="an input of more than 128 enumerated shapes",
        origin="Apple",
        source=f"{COREMLTOOLS_GUIDE}, flexible input shapes",
        confidence="high",
        remedy="keep the 128 shapes that the app needs most",
        check=enumerated_shapes,
    ),
    Rule(
        id="ane-enumerated-layer-norm",
        severity="warning",
        says="layer_norm in a model of enumerated shapes",
        origin="reported",
        source="coremltools#1909",
        confidence="medium",
        remedy="fix the shape, one package a size",
        check=each_op(enumerated_layer_norm),
    ),
    Rule(
        id="ane-image-preprocessing",
        severity="warning",
        says="an image input's scale or bias, computed in float32 before the cast",
        origin="reported",
        source="coremltools#2213",
        confidence="high",
        remedy="export with --input image: the normalisation then is part of the model, in fp16",
        check=image_preprocessing,
    ),
    Rule(
        id="ane-io-cast",
        severity="note",
        says="a cast at an input or output",
        origin="Apple",
        source=f"{COREMLTOOLS_GUIDE}, typed execution",
        confidence="high",
        remedy="export for iOS 16 or later, whose arrays are fp16; an image keeps its cast",
        check=each_op(io_cast),
    ),
    Rule(
        id="ane-state-width",
        severity="warning",
        says="a state whose last axis is no multiple of 32",
        origin="reported",
        source="coremltools#2631",
        confidence="medium",
        remedy="pad the state",
        check=state_width,
    ),
    Rule(
        id="ane-int4-block",
        severity="warning",
        says="4-bit weights with a scale for each block",
        origin="community",
        source=ANE_BOOK,
        confidence="low",
        remedy="palettize instead, or use int8 with a scale for each channel",
        check=each_op(int4_block),
    ),
    Rule(
        id="ane-tiny",
        severity="note",
        says="50,000 weights or fewer: the CPU may be preferred although every op is eligible",
        origin="community",
        source="ask-meridian.uk: 0 of 77 ops at 50 K parameters, 217 of 217 at 10 M; vx-lang/Vx#436",
        confidence="low",
        remedy="nothing; measure on the device",
        check=tiny,
    ),
)
