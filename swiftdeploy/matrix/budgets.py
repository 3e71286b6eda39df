"""Whether a bundle keeps its budgets: one check for each budget and artifact.

What cannot be compared because the baseline lacks it is skipped with the reason; what cannot be measured fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from swiftdeploy.config import Budgets, bytes_of
from swiftdeploy.config.budgets import DecibelBudget, LatencyBudget, SizeBudget
from swiftdeploy.reporting.text import figure
from swiftdeploy.runs import ArtifactSummary, BundleSummary, Check, CheckVerdict, Latency

EXIT_CODE = 6
_LEGS = {"parity": ("outputs", "stress"), "drift": ("drift",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limit:
    """What a value is held to, and how to say so."""

    value: float
    text: str


def check_budgets(budgets: Budgets, summary: BundleSummary, baseline: BundleSummary | None) -> tuple[Check, ...]:
    """Every check that the budgets ask for, in the order of the configuration's keys."""
    return tuple(_checks(budgets, summary, baseline))


def _checks(budgets: Budgets, now: BundleSummary, before: BundleSummary | None) -> Iterator[Check]:
    old = {artifact.path: artifact for artifact in before.artifacts} if before is not None else {}
    if budgets.bundle_size is not None:
        yield from _size("bundle_size", "", now.bytes, budgets.bundle_size, before.bytes if before else None)
    for artifact in now.artifacts:
        was = old.get(artifact.path)
        if budgets.size is not None:
            yield from _size("size", artifact.path, artifact.bytes, budgets.size, was.bytes if was else None)
        for key, budget in (("parity", budgets.parity), ("drift", budgets.drift)):
            if budget is not None:
                yield from _decibels(key, artifact, budget, was)
        yield from _top1(budgets, artifact.path, now, before)
        if budgets.latency is not None:
            yield from _latency(artifact.path, budgets.latency, now.latency, before.latency if before else ())
    yield from _placement(budgets, now)


def _size(key: str, subject: str, value: int, budget: SizeBudget, old: int | None) -> Iterator[Check]:
    if budget.max is not None:
        limit = _Limit(value=bytes_of(budget.max), text=f"at most {budget.max}")
        yield _most(f"{key}.max", subject, value, limit, "bytes")
    if budget.max_ratio is not None:
        yield _ratio(f"{key}.max_ratio", subject, value, budget.max_ratio, old, "bytes")


def _decibels(
    key: str, artifact: ArtifactSummary, budget: DecibelBudget, was: ArtifactSummary | None
) -> Iterator[Check]:
    found = worst_decibels(artifact, key)
    if found is None:
        for name in ("min", "max_drop"):
            if getattr(budget, name) is not None:
                yield _check(f"{key}.{name}", artifact.path, "fail", "it was not measured", unit="dB")
        return
    if budget.min is not None:
        limit = _Limit(value=budget.min, text=f"at least {budget.min:g} dB")
        yield _least(f"{key}.min", artifact.path, found, limit, "dB")
    if budget.max_drop is not None:
        old = worst_decibels(was, key) if was is not None else None
        yield _drop(f"{key}.max_drop", artifact.path, found, budget.max_drop, old, "dB")


def worst_decibels(artifact: ArtifactSummary, key: str) -> float | None:
    """The worst PSNR over an artifact's legs in dB, infinite where all is equal to the bit, None where none was run.

    An artifact without a leg of its own for drift holds the original weights: its outputs are compared with theirs.
    """
    legs = artifact.parity.legs if artifact.parity is not None else ()
    outputs = [output for leg in legs if leg.name in _LEGS[key] for output in leg.outputs]
    if not outputs and key == "drift":
        outputs = [output for leg in legs if leg.name == "outputs" for output in leg.outputs]
    if not outputs:
        return None
    # A failed output has no figure either, and a report with one was refused long before.
    return min(output.psnr_db if output.psnr_db is not None else float("inf") for output in outputs)


def _top1(budgets: Budgets, subject: str, now: BundleSummary, before: BundleSummary | None) -> Iterator[Check]:
    budget = budgets.top1
    if budget is None:
        return
    found = _share(now, subject)
    if found is None:
        yield _check("top1", subject, "fail", "it was not measured", unit="share")
        return
    if budget.min is not None:
        limit = _Limit(value=budget.min, text=f"at least {figure(budget.min, 'share')}")
        yield _least("top1.min", subject, found, limit, "share")
    if budget.max_drop is not None:
        old = _share(before, subject) if before is not None else None
        yield _drop("top1.max_drop", subject, found, budget.max_drop, old, "share")


def _share(summary: BundleSummary, artifact: str) -> float | None:
    return next((row.top1 for row in summary.accuracy if row.artifact == artifact), None)


def _latency(subject: str, budget: LatencyBudget, now: Sequence[Latency], before: Sequence[Latency]) -> Iterator[Check]:
    rows = [row for row in now if row.artifact == subject and _wanted(row, budget)]
    if not rows:
        message = "no stored result of a device measures these bytes"
        verdict: CheckVerdict = "fail" if budget.missing == "fail" else "skip"
        yield _check("latency", subject, verdict, message, unit="ms")
    for row in rows:
        where = f"{row.device}, {row.unit}"
        if budget.max_ms is not None:
            limit = _Limit(value=budget.max_ms, text=f"at most {budget.max_ms:g} ms on {where}")
            yield _most("latency.max_ms", subject, row.median_ms, limit, "ms")
        if budget.max_ratio is not None:
            same = [b.median_ms for b in before if (b.artifact, b.device, b.unit) == (subject, row.device, row.unit)]
            old = min(same, default=None)
            yield _ratio("latency.max_ratio", subject, row.median_ms, budget.max_ratio, old, "ms")


def _wanted(row: Latency, budget: LatencyBudget) -> bool:
    device, _, _ = row.device.partition(",")
    hardware = row.device.rpartition(", ")[0] or device
    return (budget.device in (None, hardware, row.device)) and budget.unit in (None, row.unit)


def _placement(budgets: Budgets, now: BundleSummary) -> Iterator[Check]:
    for severity in ("error", "warning", "note"):
        most = getattr(budgets.placement, severity, None)
        if most is None:
            continue
        counts = {str(record.get("artifact", "")): _severities(record).get(severity, 0) for record in now.placement}
        if not counts:
            yield _check(f"placement.{severity}", "", "fail", "placement was not judged", unit="findings")
        for subject, count in counts.items():
            limit = _Limit(value=most, text=f"at most {most} of severity {severity}")
            yield _most(f"placement.{severity}", subject, count, limit, "findings")


def _severities(record: Any) -> dict[str, int]:
    """How many findings of each severity a manifest's placement record counts."""
    found: dict[str, int] = dict((record.get("neural_engine") or {}).get("severities", {}))
    return found


def _most(key: str, subject: str, value: float, limit: _Limit, unit: str) -> Check:
    good = value <= limit.value
    message = f"{figure(value, unit)}, {limit.text}"
    return _check(key, subject, "pass" if good else "fail", message, value=value, limit=limit.value, unit=unit)


def _least(key: str, subject: str, value: float, limit: _Limit, unit: str) -> Check:
    good = value >= limit.value
    message = f"{figure(value, unit)}, {limit.text}"
    return _check(key, subject, "pass" if good else "fail", message, value=value, limit=limit.value, unit=unit)


def _ratio(key: str, subject: str, value: float, ratio: float, old: float | None, unit: str) -> Check:
    if old is None:
        return _check(key, subject, "skip", "the baseline has no such figure", value=value, unit=unit)
    limit = _Limit(value=old * ratio, text=f"at most {ratio:g} times the baseline's {figure(old, unit)}")
    return _most(key, subject, value, limit, unit)


def _drop(key: str, subject: str, value: float, drop: float, old: float | None, unit: str) -> Check:
    if old is None:
        return _check(key, subject, "skip", "the baseline has no such figure", value=value, unit=unit)
    if old == float("inf"):  # any figure at all would be a drop without bound
        return _check(key, subject, "skip", "the baseline was equal to the bit", value=value, unit=unit)
    limit = _Limit(value=old - drop, text=f"at most {figure(drop, unit)} below the baseline's {figure(old, unit)}")
    return _least(key, subject, value, limit, unit)


def _check(
    key: str,
    subject: str,
    verdict: CheckVerdict,
    message: str,
    *,
    value: float | None = None,
    limit: float | None = None,
    unit: str = "",
) -> Check:
    return Check(
        name=f"budget.{key}",
        subject=subject,
        verdict=verdict,
        message=message,
        value=None if value == float("inf") else value,
        limit=None if limit == float("inf") else limit,
        unit=unit,
        exit_code=EXIT_CODE if verdict == "fail" else 0,
    )
