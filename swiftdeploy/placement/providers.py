"""What two of ONNX Runtime's execution providers take of a model, by their own documentation and nothing else.

In: a graph. Out: a `Coverage` each. A provider's code knows more conditions than its page; a phone has the last word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from swiftdeploy.placement.onnx_graph import Graph, Node
from swiftdeploy.report import Coverage

Condition = Callable[[Graph, Node], str]
"""Why a node is not taken; empty where it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """An execution provider: the ops that its documentation lists, each with its conditions."""

    name: str
    source: str
    ops: Mapping[str, Condition]


def coverage(graph: Graph, provider: Provider) -> Coverage:
    """How many nodes the provider takes, in how many partitions, and why it declines the others."""
    reasons = [_reason(graph, node, provider) for node in graph.nodes]
    taken = frozenset(index for index, reason in enumerate(reasons) if not reason)
    declined = Counter(f"{n.op}: {reason}" for n, reason in zip(graph.nodes, reasons, strict=True) if reason)
    return Coverage(
        provider=provider.name,
        source=provider.source,
        nodes=len(graph.nodes),
        taken=len(taken),
        partitions=partitions(graph, taken),
        declined=dict(sorted(declined.items())),
    )


def partitions(graph: Graph, taken: frozenset[int]) -> int:
    """The least number of pieces in which taken nodes can run: each runs all that is ready before the rest goes on."""
    makers = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs if name}
    waits = [{makers[name] for name in node.inputs if name in makers} for node in graph.nodes]
    pieces, done = 0, set[int]()
    # A node comes after what it reads in any valid file; where one does not, no pass finds it ready, and the loop ends.
    while len(done) < len(waits):
        before = len(done)
        _exhaust(waits, done, [index for index in range(len(waits)) if index not in taken])
        between = len(done)
        _exhaust(waits, done, sorted(taken))
        pieces += len(done) > between
        if len(done) == before:
            break
    return pieces


def _exhaust(waits: list[set[int]], done: set[int], candidates: list[int]) -> None:
    """Run every candidate whose inputs are there; the file's order is topological, so that one pass finds them all."""
    for index in candidates:
        if index not in done and waits[index] <= done:
            done.add(index)


def _reason(graph: Graph, node: Node, provider: Provider) -> str:
    condition = provider.ops.get(node.op)
    return "not listed" if condition is None else condition(graph, node)


def _any(_: Graph, __: Node) -> str:
    return ""


def _all(*conditions: Condition) -> Condition:
    def check(graph: Graph, node: Node) -> str:
        return next((reason for condition in conditions if (reason := condition(graph, node))), "")

    return check


def _ranks(*allowed: int, inputs: tuple[int, ...] = (0,)) -> Condition:
    def check(graph: Graph, node: Node) -> str:
        for index in inputs:
            shape = graph.shape(node, index)
            if shape is None or len(shape) not in allowed:
                return f"input {index} has {'no known' if shape is None else len(shape)} axes"
        return ""

    return check


def _constant(*inputs: int) -> Condition:
    def check(graph: Graph, node: Node) -> str:
        moving = [index for index in inputs if not graph.is_static(node, index)]
        return f"input {moving[0]} is not constant" if moving else ""

    return check


def _attribute(name: str, default: object, *allowed: object) -> Condition:
    def check(_: Graph, node: Node) -> str:
        value = _text(node.attributes.get(name, default))
        return "" if value in allowed else f"{name} {value}"

    return check


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else tuple(value) if isinstance(value, list) else value


def _dtypes(*allowed: str, inputs: tuple[int, ...]) -> Condition:
    def check(graph: Graph, node: Node) -> str:
        for index in inputs:
            value = graph.values.get(node.inputs[index]) if index < len(node.inputs) else None
            if value is not None and value.dtype not in allowed:
                return f"input {index} is {value.dtype}"
        return ""

    return check


def _default_transpose(graph: Graph, node: Node) -> str:
    """ConvTranspose with its window as the weight has it, and nothing said of the output's shape."""
    weight, kernel = graph.shape(node, 1), _text(node.attributes.get("kernel_shape"))
    if kernel is not None and weight is not None and kernel != weight[2:]:
        return f"kernel_shape {kernel}"
    padding = node.attributes.get("output_padding", ())
    if any(padding):
        return f"output_padding {tuple(padding)}"
    return "output_shape is given" if "output_shape" in node.attributes else ""


def _depth_to_space(graph: Graph, node: Node) -> str:
    shape = graph.shape(node, 0)
    fixed = shape is not None and None not in shape
    return "" if fixed or _text(node.attributes.get("mode", "DCR")) != "CRD" else "mode CRD on an open shape"


def _grid_sample(_: Graph, node: Node) -> str:
    mode = _text(node.attributes.get("mode", "linear"))
    padding = _text(node.attributes.get("padding_mode", "zeros"))
    if mode not in ("linear", "bilinear"):
        return f"mode {mode}"
    reflected = padding == "reflection" and not node.attributes.get("align_corners", 0)
    return "reflection without align_corners" if reflected else ""


def _softmax(graph: Graph, node: Node) -> str:
    shape = graph.shape(node, 0)
    axis = int(node.attributes.get("axis", -1))
    last = axis == -1 or (shape is not None and axis == len(shape) - 1)
    return "" if graph.opset < 13 or last else f"axis {axis} is not the last"


_POOL = _ranks(4)
_CONV_TRANSPOSE = _all(_constant(1, 2), _attribute("auto_pad", "NOTSET", "NOTSET", "VALID"), _default_transpose)
_GEMM = _all(_attribute("transA", 0, 0), _attribute("alpha", 1.0, 1.0), _attribute("beta", 1.0, 1.0))

COREML = Provider(
    name="CoreMLExecutionProvider, ML Program",
    source="microsoft/onnxruntime, tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md at 04f568d",
    ops={
        **dict.fromkeys(
            (
                "Add", "ArgMax", "Cast", "Clip", "Concat", "Cos", "Ceil", "Div", "Elu", "Erf", "Exp", "Gelu",
                "GroupNormalization", "HardSigmoid", "Identity", "InstanceNormalization", "LayerNormalization",
                "LeakyRelu", "Max", "Mul", "PRelu", "Reciprocal", "ReduceSum", "ReduceMean", "ReduceMax", "Relu",
                "Reshape", "Resize", "Round", "Shape", "Sin", "Softplus", "Sub", "Sigmoid", "Softmax", "Sqrt",
                "Squeeze", "Tanh", "Transpose", "Unsqueeze", "com.microsoft:QuickGelu", "com.microsoft:FusedConv",
            ),
            _any,
        ),
        **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _POOL),
        "Conv": _all(_ranks(3, 4), _constant(2)),
        "ConvTranspose": _CONV_TRANSPOSE,
        "DepthToSpace": _depth_to_space,
        "GatherND": _attribute("batch_dims", 0, 0),
        "Gemm": _all(_constant(1), _GEMM),
        "GridSample": _all(_ranks(4), _grid_sample),
        # The page's condition on transA, alpha and beta stands here, at an op that has none of them: see Gemm.
        "MatMul": _any,
        "Pow": _dtypes("fp32", inputs=(0, 1)),
        "Range": _dtypes("int32", "fp16", "fp32", inputs=(0,)),
        "Slice": _constant(1, 2, 3, 4),
        "Split": _constant(1),
        "Tile": _ranks(*range(6)),
    },
)  # fmt: skip
XNNPACK = Provider(
    name="XnnpackExecutionProvider",
    source="microsoft/onnxruntime, docs/execution-providers/Xnnpack-ExecutionProvider.md (gh-pages) at 19d9fff",
    ops={
        "AveragePool": _POOL,
        "Conv": _all(_ranks(4), _constant(1, 2)),
        "ConvTranspose": _all(_ranks(4), _constant(1, 2)),
        "MaxPool": _POOL,
        "Softmax": _softmax,
        "QLinearConv": _all(_ranks(4), _constant(1, 2, 3, 4, 5, 6, 7, 8)),
        "Resize": _all(_ranks(2, 4), _attribute("mode", "nearest", "linear")),
        "Gemm": _ranks(2, inputs=(0, 1)),
        "MatMul": _ranks(2, inputs=(0, 1)),
        "com.microsoft:QLinearAveragePool": _all(_ranks(4), _constant(1, 2, 3, 4)),
        "com.microsoft:QLinearSoftmax": _constant(1, 2, 3, 4),
        "com.microsoft:QLinearConvTranspose": _constant(1, 2, 4, 5, 6, 7),
    },
)
PROVIDERS: tuple[Provider, ...] = (COREML, XNNPACK)
