"""8-bit weights and activations: coremltools' torch quantizer on the fused graph, calibrated on images.

Core ML's own activation quantizer predicts, and so needs a Mac; the one for torch does not. It looks for modules, which
the fused graph has none of: convolutions, linears and activations become modules again first, under their weights'
names. Source: coremltools 9's API reference, `coremltools.optimize.torch.quantization`.
"""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from swiftdeploy import console
from swiftdeploy.errors import ConversionError, UsageError

_ATEN = torch.ops.aten
_ACTIVATIONS: dict[Any, Callable[[], nn.Module]] = {_ATEN.relu.default: nn.ReLU, _ATEN.sigmoid.default: nn.Sigmoid}
_DISTURBANCE = 2.0**-11  # fp16 rounds by as much
_TRIES = 3
# Where coremltools keeps the weight of a convolution that it fused with an activation.
_LAYER = "_layer"
_FUSED = re.compile(rf"{_LAYER}(\d*)(?:_0|_conv|_linear)?_(weight|bias)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantized:
    """`simulated` computes in fp32 and rounds to 8 bits as it goes; `final` is what is converted, in torch's ops."""

    simulated: nn.Module
    final: nn.Module


def quantize_activations(graph: nn.Module, images: Tensor, example: Tensor) -> Quantized:
    """Quantise a fused graph whose ranges are those that it shows on `images` (N, C, H, W).

    Raises UsageError for a module that was not captured, ConversionError with the quantizer's reason.
    """
    if not isinstance(graph, fx.GraphModule):
        raise UsageError("w8a8 quantises the fused graph", hint="leave --no-fuse out")
    batch = example.shape[0]
    filled = torch.cat([images, images[:1].repeat(-len(images) % batch, 1, 1, 1)])
    try:
        with console.quiet(), torch.no_grad():
            return _quantize(with_modules(graph), filled.split(batch), example)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"coremltools cannot quantise the activations: {reason[0][:200]}",
            hint="--precision int8 quantises the weights alone, and any network",
        ) from error


def _quantize(module: fx.GraphModule, batches: tuple[Tensor, ...], example: Tensor) -> Quantized:
    from coremltools.optimize.torch.quantization import (
        LinearQuantizer,
        LinearQuantizerConfig,
        ModuleLinearQuantizerConfig,
    )

    # Steps 0 to 2: observe, then round as well, then observe no more.
    options = ModuleLinearQuantizerConfig(quantization_scheme="symmetric", milestones=[0, 1, 2, 2])
    quantizer = LinearQuantizer(module, LinearQuantizerConfig(global_config=options))
    simulated = quantizer.prepare((example,)).eval()
    quantizer.step()
    for batch in batches:
        simulated(batch)
    quantizer.step()
    simulated(batches[0])  # the observers of weights that are rounded see them once more, as they are
    quantizer.step()
    final = quantizer.finalize(inplace=False).eval()
    return Quantized(simulated=simulated.requires_grad_(False), final=final.requires_grad_(False))


def with_modules(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy in which layers are modules, named after their weights, and sums are Python's."""
    copied = copy.deepcopy(graph)
    for node in list(copied.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is _ATEN.add.Tensor and not node.kwargs:
            node.target = operator.add
        made = _module(copied, node)
        if made is None:
            continue
        name = _free_name(copied, node)
        copied.add_module(name, made)
        with copied.graph.inserting_before(node):
            call = copied.graph.call_module(name, (node.args[0],))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        copied.graph.erase_node(node)
    copied.graph.eliminate_dead_code()
    copied.delete_all_unused_submodules()
    copied.recompile()
    return copied


def conditioning_db(module: nn.Module, images: Tensor, *, batch: int) -> float:
    """PSNR of a module against itself, the worst sample of a few tries, when each layer is off by fp16's rounding step.

    8-bit rounding is a staircase: next to an edge the smallest difference becomes a whole step, in any implementation.
    What that costs this module is what its artifact may cost, too.
    """
    exact = _answers(module, images, batch)
    peak = float(exact.abs().max())
    with console.quiet():  # a graph's copy warns of what torch deprecates in itself
        errors = [_answers(_disturbed(module, seed), images, batch) - exact for seed in range(_TRIES)]
    worst = max(float(error.square().flatten(1).mean(1).max().sqrt()) for error in errors)
    return 20.0 * float(torch.log10(torch.tensor(peak / worst))) if worst > 0.0 and peak > 0.0 else 999.0


def original_name(name: str) -> str:
    """The fused graph's name of a weight or bias of the quantised one."""
    return _FUSED.sub(r"_\2", name)


def _answers(module: nn.Module, images: Tensor, batch: int) -> Tensor:
    filled = torch.cat([images, images[:1].repeat(-len(images) % batch, 1, 1, 1)])
    with torch.no_grad():
        parts = [module(part) for part in filled.split(batch)]
    rows = [part if isinstance(part, Tensor) else torch.cat([p.flatten(1) for p in part], 1) for part in parts]
    return torch.cat(rows)[: len(images)]


def _disturbed(module: nn.Module, seed: int) -> nn.Module:
    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)

    def disturb(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        return output * (1.0 + torch.empty_like(output).uniform_(-_DISTURBANCE, _DISTURBANCE, generator=generator))

    for part in copied.modules():
        if not list(part.children()):
            part.register_forward_hook(disturb)
    return copied


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    if node.target is _ATEN.conv2d.default:
        return _convolution(graph, node)
    if node.target is _ATEN.linear.default:
        return _linear(graph, node)
    if node.target is _ATEN.gelu.default:
        return nn.GELU(approximate=str(node.kwargs.get("approximate", "none")))
    made = _ACTIVATIONS.get(node.target)
    return made() if made is not None else None


def _convolution(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    given: list[Any] = [*node.args, *[None] * 7][:7]
    weight, bias = _constant(graph, given[1]), _constant(graph, given[2])
    if weight is None or (bias is None) != (given[2] is None):
        return None
    groups = int(given[6] or 1)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=tuple(given[3] or (1, 1)),
        padding=tuple(given[4] or (0, 0)),
        dilation=tuple(given[5] or (1, 1)),
        groups=groups,
        bias=bias is not None,
    )
    return _filled(layer, weight, bias)


def _linear(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    given = [*node.args, None][:3]
    weight, bias = _constant(graph, given[1]), _constant(graph, given[2])
    if weight is None or (bias is None) != (given[2] is None):
        return None
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    with torch.no_grad():
        layer.get_parameter("weight").copy_(weight)
        if bias is not None:
            layer.get_parameter("bias").copy_(bias)
    return layer


def _constant(graph: fx.GraphModule, node: Any) -> Tensor | None:
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value = operator.attrgetter(str(node.target))(graph)
    return value if isinstance(value, Tensor) else None


def _free_name(graph: fx.GraphModule, node: fx.Node) -> str:
    """The weight's name without its last word, or the node's own, marked: what the converter will call the layer."""
    weight = node.args[1] if len(node.args) > 1 else None
    base = str(weight.target).removesuffix("_weight") if isinstance(weight, fx.Node) else node.name
    base = base.replace(".", "_") + _LAYER
    name, number = base, 1
    while hasattr(graph, name):
        name, number = f"{base}{number}", number + 1
    return name
