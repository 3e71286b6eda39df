"""What a rewrite answers, and the record of all of them that the manifest keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, fx

from swiftdeploy.report import RewriteRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Where a rewrite fired, and where it looked and declined, with the reason."""

    fired: tuple[str, ...] = ()
    declined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """One exact change of the graph: its name, its algebra in a line, and the function that applies it everywhere.

    `apply(graph, images)` changes the graph in place; `images` (N, C, H, W) is what it may measure ranges on.
    `recorded` is off for clean-ups that decide nothing.
    """

    name: str
    algebra: str
    apply: Callable[[fx.GraphModule, Tensor], Outcome]
    recorded: bool = True

    def record(self, outcome: Outcome) -> RewriteRecord:
        """The ledger's line for this rewrite."""
        return RewriteRecord(
            name=self.name,
            algebra=self.algebra,
            fired=outcome.fired,
            declined=dict(outcome.declined),
        )
