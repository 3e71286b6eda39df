"""Rules on the parameters of convolutions, pooling and resizing, as the program's constants give them."""

from __future__ import annotations

from swiftdeploy.mil.program import Operation
from swiftdeploy.placement.rule import HOLLANCE, NE_RULES, Rule, each_op
from swiftdeploy.placement.scope import Scope

CONVOLUTIONS = ("conv", "conv_transpose")
POOLS = ("max_pool", "avg_pool", "l2_pool")
RESIZES = (
    "upsample_nearest_neighbor",
    "upsample_bilinear",
    "resize_nearest_neighbor",
    "resize_bilinear",
    "resize",
)
BESIDE_TWO = (1, 2, 3, 4, 8, 9)
STUCK = (5, 7, 10, 11)
MAX_KERNEL = 7
MAX_POOL = 13
POOL_STRIDES = (1, 2, 4)
LONG_TRANSPOSED_STRIDE = 16


def conv_stride(scope: Scope, operation: Operation) -> str:
    """A stride that the engine's steps of 2 and 3 do not reach, other than those that were seen to hang."""
    strides = _integers(scope, operation, "strides", CONVOLUTIONS)
    if not set(strides) - set(STUCK):
        return ""
    wrong = any(not _smooth(stride) and stride not in STUCK for stride in strides)
    mixed = len(strides) > 1 and 2 in strides and any(stride not in (*BESIDE_TWO, *STUCK) for stride in strides)
    return f"strides {strides}" if wrong or mixed else ""


def conv_stride_compile(scope: Scope, operation: Operation) -> str:
    """A stride at which the engine's compiler was seen to hang or crawl."""
    strides = _integers(scope, operation, "strides", CONVOLUTIONS)
    return f"strides {strides}" if set(strides) & set(STUCK) else ""


def conv_stride_palettized(scope: Scope, operation: Operation) -> str:
    """A stride over 2 whose weights come out of a lookup table."""
    strides = _integers(scope, operation, "strides", CONVOLUTIONS)
    packed = scope.packed_by(operation, "weight")
    palettized = packed is not None and packed.type.startswith("constexpr_lut_")
    return (
        f"strides {strides}, weights by {packed.type}" if packed and palettized and max(strides, default=1) > 2 else ""
    )


def conv_transpose_stride(scope: Scope, operation: Operation) -> str:
    """A transposed convolution that spreads very far."""
    strides = _integers(scope, operation, "strides", ("conv_transpose",))
    return f"strides {strides}" if max(strides, default=1) >= LONG_TRANSPOSED_STRIDE else ""


def conv_dilation(scope: Scope, operation: Operation) -> str:
    """A dilation that no chain of 2s and 3s gives."""
    dilations = _integers(scope, operation, "dilations", CONVOLUTIONS)
    return f"dilations {dilations}" if not all(map(_smooth, dilations)) else ""


def conv_kernel(scope: Scope, operation: Operation) -> str:
    """A kernel that is wider than two small ones need be."""
    kernel = scope.shape(operation, "weight")[2:] if operation.type in CONVOLUTIONS else ()
    return f"kernel {kernel}" if any((size or 0) > MAX_KERNEL for size in kernel) else ""


def pool_kernel(scope: Scope, operation: Operation) -> str:
    """A window beyond what old systems' log messages allow."""
    sizes = _integers(scope, operation, "kernel_sizes", POOLS)
    return f"window {sizes}" if max(sizes, default=1) > MAX_POOL else ""


def pool_stride(scope: Scope, operation: Operation) -> str:
    """A pooling stride that is not listed."""
    strides = _integers(scope, operation, "strides", POOLS)
    return f"strides {strides}" if any(stride not in POOL_STRIDES for stride in strides) else ""


def resize_factor(scope: Scope, operation: Operation) -> str:
    """The output's height or width against the input's."""
    if operation.type not in RESIZES or not operation.outputs:
        return ""
    kind = scope.type_of(operation.outputs[0].name)
    sizes = zip(scope.shape(operation, "x")[-2:], () if kind is None else kind.shape[-2:], strict=False)
    factors = [after / before for before, after in sizes if before and after]
    return f"by {max(factors):g}" if factors and max(factors) > 2 else ""


def _integers(scope: Scope, operation: Operation, key: str, types: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(number) for number in scope.numbers(operation, key)) if operation.type in types else ()


def _smooth(number: int) -> bool:
    """Whether a number is a product of 2s and 3s; 1 is, as the product of none."""
    for factor in (2, 3):
        while number > 1 and number % factor == 0:
            number //= factor
    return number == 1


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-conv-stride",
        severity="warning",
        says="a stride that is no product of 2s and 3s, or next to a stride of 2 is not 1, 2, 3, 4, 8 or 9",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="use several convolutions of strides 2 and 3",
        check=each_op(conv_stride),
    ),
    Rule(
        id="ane-conv-stride-compile",
        severity="warning",
        says="a stride of 5 or 7, at which compiling did not end, or of 10 or 11, at which it was slow",
        origin="reported",
        source="coremltools#2473",
        confidence="medium",
        remedy="change the stride; give the load on the device a time limit and another compute unit",
        check=each_op(conv_stride_compile),
    ),
    Rule(
        id="ane-conv-stride-palettized",
        severity="warning",
        says="a stride over 2 with palettized weights",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="leave this layer out of palettization",
        check=each_op(conv_stride_palettized),
    ),
    Rule(
        id="ane-conv-transpose-stride",
        severity="warning",
        says="a transposed convolution of stride 16 or more",
        origin="reported",
        source="coremltools#2450",
        confidence="low",
        remedy="use several transposed convolutions of stride 2",
        check=each_op(conv_transpose_stride),
    ),
    Rule(
        id="ane-conv-dilation",
        severity="warning",
        says="a dilation that is no product of 2s and 3s",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="factor it into a chain of dilations 2 and 3",
        check=each_op(conv_dilation),
    ),
    Rule(
        id="ane-conv-kernel",
        severity="warning",
        says="a kernel wider than 7",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="two smaller ones reach as far: 9 is 5 after 5",
        check=each_op(conv_kernel),
    ),
    Rule(
        id="ane-pool-kernel",
        severity="warning",
        says="a pooling window wider than 13",
        origin="community",
        source=HOLLANCE,
        confidence="low",
        remedy="use reduce_mean or reduce_max over the axes, or pool twice",
        check=each_op(pool_kernel),
    ),
    Rule(
        id="ane-pool-stride",
        severity="warning",
        says="a pooling stride other than 1, 2 or 4",
        origin="Apple",
        source=f"{NE_RULES}; coremltools#2367 at 8",
        confidence="medium",
        remedy="pool in steps of 2",
        check=each_op(pool_stride),
    ),
    Rule(
        id="ane-resize-factor",
        severity="warning",
        says="resizing by more than 2",
        origin="community",
        source=f"{HOLLANCE}; coremltools#2367 at 8",
        confidence="low",
        remedy="resize in steps of 2",
        check=each_op(resize_factor),
    ),
)
