"""Two linear heads of one input, added, are one linear head.

    (W1 x + b1) + (W2 x + b2) = (W1 + W2) x + (b1 + b2)

With the factor 1/2 of the mean folded by `scale`, a distilled classifier keeps one head. The sum is taken in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from swiftdeploy.fuse.batch_norm import set_linear
from swiftdeploy.fuse.graph import ADD, arg, calls, linear_of, only_user, place, replace
from swiftdeploy.fuse.ledger import Outcome


def merge_heads(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Merge each sum of two linears that read the same value."""
    del images
    fired: list[str] = []
    declined: dict[str, str] = {}
    for node in calls(graph, ADD):
        if len(node.args) != 2:
            continue
        first, second = (linear_of(graph, argument) for argument in node.args)
        if first is None or second is None:
            continue
        where = f"{place(arg(node, 0))} + {place(arg(node, 1))}"
        if node.kwargs:
            declined[where] = "the sum weighs its second term"
            continue
        if first[0] is not second[0] or arg(node, 0) is arg(node, 1):
            declined[where] = "the two linears read different values"
            continue
        if only_user(arg(node, 0)) is None or only_user(arg(node, 1)) is None:
            declined[where] = "one of the two is an output of its own"
            continue
        biases = [torch.zeros(weight.shape[0]) if bias is None else bias for _, weight, bias in (first, second)]
        weight = first[1].double() + second[1].double()
        new = set_linear(graph, arg(node, 0), x=first[0], weight=weight, bias=biases[0].double() + biases[1].double())
        replace(graph, node, new)
        graph.graph.eliminate_dead_code()
        fired.append(where)
    return Outcome(fired=tuple(fired), declined=declined)
