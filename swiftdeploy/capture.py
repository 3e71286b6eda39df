"""A module becomes a graph, and after fusing the graph becomes a program.

In: an eager `nn.Module` and one example input. Out of `capture`: an ATen-level `torch.fx.GraphModule` whose every node
knows its shape and the module it came from, for `fuse` to rewrite. Out of `freeze`: the `Program` that every target
converts. Knows nothing of Core ML or ONNX.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from swiftdeploy import console
from swiftdeploy.errors import ConversionError
from swiftdeploy.spec import TensorSpec

_TRACED_NAMES = {"aten::_convolution": "aten::conv2d"}  # what the tracer calls an op that the export names otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A traced graph with its example input and the names and shapes at its border."""

    traced: torch.jit.ScriptModule
    example: Tensor
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    origins: dict[str, str]  # program value -> path of the torch module that computed it


# A trace holds one branch for good, so that --no-fuse is no way out here.
_BRANCHES = "make forward independent of the data's values, by torch.where say, or export the branch that the app needs"


def capture(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """The ATen graph of `module` for inputs of the example's shape, with `meta["val"]` on the meta device.

    The graph shares its parameters with the module and must not change them in place.
    Raises ConversionError where torch.export cannot follow the module.
    """
    try:
        with console.quiet(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(module, (example,), strict=False)
            graph = exported.module(check_guards=False)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"torch.export cannot capture {type(module).__name__}: {reason[0][:200]}",
            hint=_BRANCHES if "data-dependent" in str(error) else "use --no-fuse to trace the module as it is",
        ) from error
    for node in graph.graph.nodes:
        value = operator.attrgetter(node.target)(graph) if node.op == "get_attr" else node.meta.get("val")
        node.meta["val"] = tree_map_only(Tensor, _shape_only, value)
    return graph


def tensors_of(module: nn.Module, outputs: object) -> tuple[Tensor, ...]:
    """What a module returned, as a tuple. Raises ConversionError for what is neither a tensor nor some in a row."""
    results = (outputs,) if isinstance(outputs, Tensor) else outputs
    if isinstance(results, (tuple, list)) and results and all(isinstance(r, Tensor) for r in results):
        return tuple(results)
    found = type(outputs).__name__
    if isinstance(outputs, (tuple, list)):
        found += f" of ({', '.join(type(part).__name__ for part in outputs)})"
    raise ConversionError(
        f"{type(module).__name__} returns a {found}: supported are a tensor, and a tuple of tensors",
        hint="wrap the model so that forward returns its tensors, one behind the other",
    )


def _shape_only(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def origin(node: fx.Node) -> str:
    """Path of the module that computed a node, "" for the outermost one."""
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else ""


def op_name(call: fx.Node) -> str:
    """The ATen op of a call without its namespace and overload; a Python function's own name for the few of those."""
    schema = getattr(call.target, "_schema", None)
    return str(schema.name).removeprefix("aten::") if schema is not None else str(getattr(call.target, "__name__", ""))


def freeze(module: nn.Module, example: Tensor, *, input_name: str, output_names: Sequence[str] = ()) -> Program:
    """Trace a graph (or, with --no-fuse, the eager module) into the program that targets convert.

    Output names default to "logits" for one output and "features_0", … for several.
    Raises ConversionError when tracing fails or the outputs are not tensors.
    """
    try:
        with console.quiet(), torch.no_grad():
            results = tensors_of(module, module(example))
            traced = torch.jit.trace(module, example, check_trace=False)
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"{type(module).__name__} cannot be traced: {type(error).__name__}: {str(error)[:200]}",
            hint="forward must take one NCHW tensor and return a tensor or a tuple of tensors",
        ) from error
    names = tuple(output_names) or (
        ("logits",) if len(results) == 1 else tuple(f"features_{i}" for i in range(len(results)))
    )
    return Program(
        traced=traced,
        example=example,
        inputs=(TensorSpec(name=input_name, shape=tuple(example.shape)),),
        outputs=tuple(TensorSpec(name=n, shape=tuple(r.shape)) for n, r in zip(names, results, strict=True)),
        origins=_name_values(traced, module) if isinstance(module, fx.GraphModule) else {},
    )


def _name_values(traced: torch.jit.ScriptModule, graph: fx.GraphModule) -> dict[str, str]:
    """Give each traced value its graph node's name, so that an artifact's op leads back to a torch module."""
    calls = [n for n in graph.graph.nodes if n.op == "call_function"]
    values = [n for n in traced.graph.nodes() if n.kind().startswith("aten::")]
    kinds = [_TRACED_NAMES.get(n.kind(), n.kind()) for n in values]
    if kinds != [f"aten::{op_name(call)}" for call in calls]:
        return {}  # names only help to explain a divergence; a graph that traces otherwise still converts
    origins: dict[str, str] = {}
    for value, call in zip(values, calls, strict=True):
        name = _value_name(call, origins)
        value.output().setDebugName(name)
        origins[name] = origin(call)
    return origins


def _value_name(call: fx.Node, taken: Collection[str]) -> str:
    """Module path and op, as they read in Xcode and Netron: network_0_2_attn_to_query_conv2d."""
    base = "_".join(filter(None, (*origin(call).split("."), op_name(call))))
    name, number = base, 1
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
