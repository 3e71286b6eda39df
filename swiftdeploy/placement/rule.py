"""What a rule is: words for people, where they come from, and the check that decides.

The rules stand beside their checks, a family a module; `table` has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from swiftdeploy.mil.program import Operation
from swiftdeploy.placement.scope import Scope
from swiftdeploy.report import Confidence, Hit, Origin, Severity

# Apple's own words on the engine, newest first; then the community's list that most others quote.
NE_RULES = "coreai-models, neural_engine_rules.md"
ANE_TRANSFORMERS = "ml-ane-transformers and its research article"
COREMLTOOLS_GUIDE = "coremltools guide"
HOLLANCE = "hollance/neural-engine, unsupported-layers.md (2020-22, neural networks)"
RF_DETR = "roboflow/rf-detr#1495, by MLComputePlan on an M3 Pro"
ANE_BOOK = "videlalvaro/ane-book, on an M4 Max"

Check = Callable[[Scope], Iterable[Hit]]
OpCheck = Callable[[Scope, Operation], str]
"""What is wrong with an op, with the value that was found; empty where nothing is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule. An "error" makes an op ineligible, a "warning" risky, a "note" changes no verdict.

    `id` is stable. `origin` says whether Apple wrote it, someone reported it to a tracker, or the community found it.
    """

    id: str
    severity: Severity
    says: str
    origin: Origin
    source: str
    confidence: Confidence
    remedy: str
    check: Check


def each_op(judge: OpCheck) -> Check:
    """The check of a whole program that asks `judge` about each of its ops."""

    def check(scope: Scope) -> Iterable[Hit]:
        for operation in scope.judged:
            if reason := judge(scope, operation):
                yield Hit(op=operation.name, type=operation.type, reason=reason)

    return check
