"""What every rewrite needs to read and change a captured graph: matching, constants, new nodes.

Rewrites work on ATen-level `torch.fx` graphs. Constants are never changed in place, since they belong to the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from swiftdeploy.capture import origin

_NAME = "constant_name"  # in a get_attr node's meta: the name that its constant should have in the artifacts

aten = torch.ops.aten
ADD, SUB, MUL, DIV = aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor
CONV, LINEAR, MATMUL, CAT = aten.conv2d.default, aten.linear.default, aten.matmul.default, aten.cat.default
BATCH_NORM = aten.batch_norm.default
NORM, CLAMP_MIN, SUM, MEAN = (
    aten.linalg_vector_norm.default,
    aten.clamp_min.default,
    aten.sum.dim_IntList,
    aten.mean.dim,
)


@dataclass(frozen=True, slots=True)
class Conv:
    """The arguments of one conv2d node, with ATen's defaults filled in."""

    node: fx.Node
    x: fx.Node
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def pointwise(self) -> bool:
        """Whether this is a 1x1 convolution that sees no padding, so that it acts on each pixel alone."""
        return self.weight.shape[2:] == (1, 1) and not any(self.padding)

    @property
    def name(self) -> str:
        """The node's place in the model, for the ledger."""
        return place(self.node)


def calls(graph: fx.GraphModule, *targets: Any) -> Iterator[fx.Node]:
    """Every live call of one of the targets, in order; safe while the graph changes."""
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target in targets and not node._erased:
            yield node


def is_call(node: Any, *targets: Any) -> bool:
    """Whether an argument is a call of one of the targets."""
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target in targets


def overwrites(node: fx.Node) -> bool:
    """Whether a node is an in-place call, such as add_."""
    schema = getattr(node.target, "_schema", None)  # Python's own getitem, behind split and chunk, has none
    return schema is not None and bool(schema.is_mutable)


def arg(node: fx.Node, index: int, default: Any = None) -> Any:
    """One positional argument of a call, or the default where the call leaves it out; fx types it as a wide union."""
    return node.args[index] if index < len(node.args) else default


def only_user(node: fx.Node) -> fx.Node | None:
    """The one node that reads `node`, None if there are several or none."""
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def shape(node: fx.Node) -> tuple[int, ...]:
    """The static shape of a node's value."""
    return tuple(node.meta["val"].shape)


def place(node: fx.Node) -> str:
    """Where a node stands in the model: its module's path, or its own name at the top."""
    return origin(node) or node.name


def constant(graph: fx.GraphModule, node: Any) -> Tensor | None:
    """The tensor behind a get_attr node; None for anything else."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = graph
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) else None


def conv_of(graph: fx.GraphModule, node: Any) -> Conv | None:
    """A conv2d node with constant weights, taken apart; None for anything else."""
    if not is_call(node, CONV):
        return None
    given = list(node.args) + [None] * (7 - len(node.args))
    x, weight, bias, stride, padding, dilation, groups = given
    kernel = constant(graph, weight)
    offset = constant(graph, bias)
    if kernel is None or (bias is not None and offset is None):
        return None
    return Conv(
        node=node,
        x=x,
        weight=kernel,
        bias=offset,
        stride=tuple(stride or (1, 1)),
        padding=tuple(padding or (0, 0)),
        dilation=tuple(dilation or (1, 1)),
        groups=groups or 1,
    )


def linear_of(graph: fx.GraphModule, node: Any) -> tuple[fx.Node, Tensor, Tensor | None] | None:
    """(input, weight, bias) of a linear node with constant weights; None for anything else."""
    if not is_call(node, LINEAR):
        return None
    weight = constant(graph, arg(node, 1))
    bias_node = arg(node, 2)
    bias = constant(graph, bias_node)
    if weight is None or (bias_node is not None and bias is None):
        return None
    return arg(node, 0), weight, bias


def add_constant(graph: fx.GraphModule, name: str, value: Tensor, before: fx.Node) -> fx.Node:
    """A get_attr node for a new constant. `name` is made unique and flat, as it will stand in the artifacts."""
    flat = name.replace(".", "_")
    unique, number = flat, 1
    while hasattr(graph, unique):
        unique, number = f"{flat}_{number}", number + 1
    graph.register_buffer(unique, value.detach().clone().contiguous())
    with graph.graph.inserting_before(before):
        node = graph.graph.get_attr(unique)
    node.meta["val"] = torch.empty(value.shape, dtype=value.dtype, device="meta")
    node.meta[_NAME] = flat
    return node


def flatten_constants(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with its live constants alone, under flat names without the numbers that rewriting left."""
    tensors: dict[str, Any] = {}
    for node in graph.graph.nodes:
        if node.op != "get_attr":
            continue
        value = constant(graph, node)
        base = node.meta.get(_NAME) or str(node.target).replace(".", "_")
        name, number = base, 1
        while name in tensors and tensors[name] is not value:
            name, number = f"{base}_{number}", number + 1
        tensors[name] = value
        node.target = name
    return fx.GraphModule(tensors, graph.graph)


def emit(
    graph: fx.GraphModule,
    target: Any,
    args: Sequence[Any],
    *,
    before: fx.Node,
    like: fx.Node,
    options: Mapping[str, Any] | None = None,
) -> fx.Node:
    """A new call before `before`, `options` being its keyword-only arguments, such as gelu's `approximate`.

    It takes its place in the model from `like`; its shape is worked out.
    """
    with graph.graph.inserting_before(before):
        node = graph.graph.call_function(target, tuple(args), dict(options or {}))
    for key in ("nn_module_stack", "stack_trace"):
        if key in like.meta:
            node.meta[key] = like.meta[key]
    values = fx.map_arg(tuple(args), lambda n: n.meta["val"])
    node.meta["val"] = target(*values, **(options or {}))
    return node


def set_conv(
    graph: fx.GraphModule, conv: Conv, *, weight: Tensor, bias: Tensor | None, x: fx.Node | None = None
) -> fx.Node:
    """Replace a convolution by one with other weights (and input), keeping its place, name and geometry.

    New weights come in float64 from the algebra and are rounded once to the dtype of the old ones.
    """
    stem = weight_stem(conv.node)
    weight_node = add_constant(graph, f"{stem}.weight", weight.to(conv.weight.dtype), conv.node)
    bias_node = None if bias is None else add_constant(graph, f"{stem}.bias", bias.to(conv.weight.dtype), conv.node)
    geometry = (list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups)
    args = (x or conv.x, weight_node, bias_node, *geometry)
    node = emit(graph, CONV, args, before=conv.node, like=conv.node)
    replace(graph, conv.node, node)
    return node


def weight_stem(node: fx.Node) -> str:
    """The name that a layer's weights carry, without ".weight" and without the number of an earlier rewrite."""
    source = arg(node, 1)
    name = str(source.target) if isinstance(source, fx.Node) and source.op == "get_attr" else place(node)
    head, found, _ = name.rpartition("weight")
    return (head if found else name).rstrip("._")


def replace(graph: fx.GraphModule, old: fx.Node, new: fx.Node) -> None:
    """Let every reader of `old` read `new`, and erase `old`."""
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    if not old.users:
        graph.graph.erase_node(old)


def scalar(value: Any) -> float | None:
    """A Python number as float, None for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def operands(node: fx.Node) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Both orders of a commutative call's two operands."""
    first, second = arg(node, 0), arg(node, 1)
    return (first, second), (second, first)
