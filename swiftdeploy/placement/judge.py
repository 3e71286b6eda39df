"""The rules put to a package: findings, a verdict for each op, the program cut where the verdict changes.

In: the path of an .mlpackage. Out: a `PlacementRecord`. A verdict is a prediction; it never says where an op runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from swiftdeploy.mil.program import Operation
from swiftdeploy.placement.cost import costs, total, weights
from swiftdeploy.placement.layout import LAYOUT_OPS
from swiftdeploy.placement.rule import Rule
from swiftdeploy.placement.scope import Scope, read_scope
from swiftdeploy.placement.table import RULES
from swiftdeploy.report import Eligibility, EnginePrediction, Finding, Hit, OpCost, PlacementRecord, Segment, Severity

VERDICTS: Mapping[Severity, Eligibility] = {"note": "eligible", "warning": "risky", "error": "ineligible"}
_ORDER: tuple[Eligibility, ...] = ("eligible", "risky", "ineligible")


def place(path: Path) -> tuple[PlacementRecord, tuple[OpCost, ...]]:
    """The prediction for the default function of a package, and the cost of each of its ops.

    Raises ArtifactError for a damaged package.
    """
    scope = read_scope(path)
    priced = costs(scope)
    record = PlacementRecord(
        artifact=path.name,
        neural_engine=predict(scope),
        providers=(),
        cost=total(priced, sum(stored.bytes for stored in weights(scope).values())),
    )
    return record, priced


def predict(scope: Scope) -> EnginePrediction:
    """All findings, what they make of each op, and where the verdict changes."""
    findings = judge(scope)
    verdicts = op_verdicts(scope, findings)
    segments = segment(scope.judged, verdicts)
    return EnginePrediction(
        verdict=max((VERDICTS[finding.severity] for finding in findings), key=_ORDER.index, default=_ORDER[0]),
        ops=_count((verdicts[id(op)] for op in scope.judged), _ORDER),
        severities=_count((f.severity for f in findings for _ in f.hits), tuple(VERDICTS)),
        layout_ops=sum(op.type in LAYOUT_OPS for op in scope.judged),
        fp16_share=_fp16_share(scope),
        findings=findings,
        segments=segments,
        switches=max(0, len(segments) - 1),
    )


def judge(scope: Scope, rules: Sequence[Rule] = RULES) -> tuple[Finding, ...]:
    """Every rule that fired, errors first, each with all its places in program order."""
    found = [_finding(rule, hits) for rule in rules if (hits := tuple(rule.check(scope)))]
    return tuple(sorted(found, key=lambda finding: -_ORDER.index(VERDICTS[finding.severity])))


def op_verdicts(scope: Scope, findings: Iterable[Finding]) -> Mapping[int, Eligibility]:
    """The verdict of each judged op, by identity: the worst of what was found at it."""
    worst: dict[tuple[str, str], Eligibility] = {}
    for finding in findings:
        for hit in finding.hits:
            known = worst.get((hit.op, hit.type), _ORDER[0])
            worst[hit.op, hit.type] = max(known, VERDICTS[finding.severity], key=_ORDER.index)
    return {id(op): worst.get((op.name, op.type), _ORDER[0]) for op in scope.judged}


def segment(operations: Iterable[Operation], verdicts: Mapping[int, Eligibility]) -> tuple[Segment, ...]:
    """The runs of ops of one verdict, in program order."""
    runs = []
    for verdict, group in groupby(operations, key=lambda op: verdicts[id(op)]):
        ops = list(group)
        runs.append(Segment(verdict=verdict, first=ops[0].name, last=ops[-1].name, ops=len(ops)))
    return tuple(runs)


def _finding(rule: Rule, hits: tuple[Hit, ...]) -> Finding:
    return Finding(
        rule=rule.id,
        severity=rule.severity,
        says=rule.says,
        origin=rule.origin,
        source=rule.source,
        confidence=rule.confidence,
        remedy=rule.remedy,
        hits=hits,
    )


def _fp16_share(scope: Scope) -> float:
    """The share of ops with an fp16 output among those with a float one."""
    floats = [kind for op in scope.judged for o in op.outputs[:1] if (kind := scope.counter.dtype(o.name))[:2] == "fp"]
    return round(sum(kind == "fp16" for kind in floats) / len(floats), 4) if floats else 0.0


def _count(found: Iterable[str], keys: Sequence[str]) -> Mapping[str, int]:
    counted = Counter(found)
    return {key: counted[key] for key in keys}
