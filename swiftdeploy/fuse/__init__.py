"""Exact rewrites of a captured graph, each with its algebra, and the ledger of what fired.

In: the graph of `capture` and a few calibration images. Out: the same graph, rewritten, and one record a rewrite. Each
rewrite is exact in real arithmetic. New weights are rounded once to fp32, which moves outputs by less than 1e-6,
relative; sums in another order then differ as much as fp32 sums do, some 1e-6 after a deep network.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx

from swiftdeploy.fuse import batch_norm, scale
from swiftdeploy.fuse.additive_attention import rewrite_attention
from swiftdeploy.fuse.channels_first import to_channels_first
from swiftdeploy.fuse.graph import flatten_constants
from swiftdeploy.fuse.heads import merge_heads
from swiftdeploy.fuse.identities import (
    fold_constants,
    merge_spatial_mean,
    remove_identities,
    remove_singleton_softmax,
)
from swiftdeploy.fuse.ledger import Outcome, Rewrite
from swiftdeploy.report import RewriteRecord

__all__ = ["REWRITES", "Fused", "Outcome", "Rewrite", "constants", "fuse"]

REWRITES: tuple[Rewrite, ...] = (
    Rewrite(name="constants", algebra="f(constants) = constant", apply=fold_constants, recorded=False),
    Rewrite(name="identities", algebra="dropout(x) = clone(x) = x", apply=remove_identities, recorded=False),
    Rewrite(  # before the island, whose twin would otherwise carry the dead branch along
        name="singleton_softmax", algebra="softmax over one element = 1", apply=remove_singleton_softmax
    ),
    Rewrite(name="batch_norm_after", algebra="s*(Wx + b) + t = (sW)x + (sb + t)", apply=batch_norm.fold_into_previous),
    Rewrite(
        name="channels_first",
        algebra="linear over tokens = 1x1 convolution over pixels; the layout never changes",
        apply=to_channels_first,
    ),
    Rewrite(name="spatial_mean", algebra="mean(flatten(x, 2), -1) = mean(x, (2, 3))", apply=merge_spatial_mean),
    Rewrite(name="heads", algebra="(W1 x + b1) + (W2 x + b2) = (W1 + W2)x + (b1 + b2)", apply=merge_heads),
    Rewrite(  # after the heads, so that the norm before them meets one linear and not two
        name="batch_norm_before", algebra="W(s*x + t) + b = (Ws)x + (b + Wt)", apply=batch_norm.fold_into_next
    ),
    Rewrite(name="scale_after", algebra="s*(Wx + b) = (sW)x + sb", apply=scale.fold_into_previous),
    Rewrite(name="scale_before", algebra="W(s*x) + b = (Ws)x + b", apply=scale.fold_into_next),
    Rewrite(  # last: it matches convolutions whose scales are folded
        name="additive_attention",
        algebra="n(s*v) = n(v); gk = sum(aq)*(k/(|a||k|)); Wf(Wp z + q) = [WfWp, Wf](z, q)",
        apply=rewrite_attention,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """The rewritten graph, its constants under flat names, and the ledger."""

    graph: fx.GraphModule
    ledger: tuple[RewriteRecord, ...]


def fuse(graph: fx.GraphModule, images: Tensor) -> Fused:
    """Apply every rewrite, in order, consuming `graph`; `images` (N, C, H, W) calibrate static scales."""
    records = []
    for rewrite in REWRITES:
        outcome = rewrite.apply(graph, images)
        if rewrite.recorded:
            records.append(rewrite.record(outcome))
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    return Fused(graph=flatten_constants(graph), ledger=tuple(records))


def constants(graph: fx.GraphModule) -> dict[str, Tensor]:
    """Every constant of a fused graph by the name that it has in the artifacts."""
    return dict(graph.named_buffers()) | {name: p.detach() for name, p in graph.named_parameters()}
