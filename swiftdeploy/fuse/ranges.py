"""How large chosen values of a graph become on the calibration images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx


class _Watch(fx.Interpreter):
    """Runs a graph and keeps the largest magnitude of the watched nodes."""

    def __init__(self, graph: fx.GraphModule, nodes: Sequence[fx.Node]) -> None:
        super().__init__(graph)
        self.found = dict.fromkeys(nodes, 0.0)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.found:
            self.found[n] = float(value.abs().max().clamp_min(self.found[n]))  # unlike max(), keeps a NaN
        return value


def largest(graph: fx.GraphModule, nodes: Sequence[fx.Node], images: Tensor) -> list[float]:
    """The largest magnitude that each node takes over the images (N, C, H, W); NaN where one of them gives NaN.

    They run in batches of the captured size, the last of them filled up with the first image.
    """
    if not nodes:
        return []
    batch = next(n for n in graph.graph.nodes if n.op == "placeholder").meta["val"].shape[0]
    watch = _Watch(graph, nodes)
    with torch.no_grad():
        for chunk in images.split(batch):
            watch.run(torch.cat([chunk, images[:1].expand(batch - len(chunk), *images.shape[1:])]))
    return [watch.found[node] for node in nodes]
