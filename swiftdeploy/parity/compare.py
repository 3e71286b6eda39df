"""Whether an artifact's outputs and weights are the oracle's. Everything unexpected is a failure.

Arrays carry the sample axis first. The gates stand in one table, with the reasoning.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.parity import metrics
from swiftdeploy.precision import parse
from swiftdeploy.report import OutputParity, Verdict, WeightParity

Arrays = Mapping[str, NDArray[Any]]
FAILED_DB = -999.0  # where nothing could be compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """PSNR in dB from which an output passes, and below which it fails; between them it warns."""

    passes: float
    fails: float


GATES: Mapping[str, Gate] = {
    # Reordering fp32 sums costs 1e-7 relative a step, some 120 to 140 dB after a whole network; 100 dB leaves room for
    # other kernels' summation order and none for a wrong constant: one weight off by 1 % stands out at 40 to 60 dB.
    "fp32": Gate(passes=100.0, fails=100.0),
    # fp16 rounds at 2**-11, which lands at 55 to 70 dB over these depths. 50 dB is faithful; under 40 dB something is
    # wrong (published converter bugs lie below it); between them a person should look.
    "fp16": Gate(passes=50.0, fails=40.0),
}


def gate(precision: str) -> Gate:
    """The gate of a precision: that of what it computes in, however it stores its weights."""
    return GATES[parse(precision).compute]


def outputs(
    reference: Arrays, candidate: Arrays, *, precision: str, samples: Sequence[str], limits: Gate | None = None
) -> tuple[OutputParity, ...]:
    """The verdict on every output at the gate of its precision, or at `limits` where it has its own; see `held_to`."""
    return held_to(reference, candidate, gate=limits or gate(precision), samples=samples)


def held_to(
    reference: Arrays, candidate: Arrays, *, gate: Gate, samples: Sequence[str], flips_fail: bool = True
) -> tuple[OutputParity, ...]:
    """The verdict on every output at a gate; a missing, extra, mis-shaped or non-finite one fails with the reason.

    So does another winning class, unless the error explains it or `flips_fail` is off.
    """
    found = [
        _one(name, reference[name], candidate[name], gate, samples, flips_fail)
        if name in candidate
        else _failed(name, "the artifact does not return it", samples)
        for name in reference
    ]
    extra = [_failed(name, "the oracle has no such output", samples) for name in candidate if name not in reference]
    return (*found, *extra)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several verdicts; nothing compared is a failure."""
    if not verdicts or "fail" in verdicts:
        return "fail"
    return "warn" if "warn" in verdicts else "pass"


def weights(
    expected: Arrays, stored: Arrays, *, precision: str, recurrent: Collection[str] = frozenset()
) -> WeightParity:
    """Whether each expected float tensor is in the artifact, rounded once to its stored dtype, and nothing else is.

    Converters rename, transpose and merge equal tensors, so a tensor counts as found under its own name, or anywhere
    with the same values (then also in another layout). Single numbers are left to the outputs, and so is a tensor of
    one number throughout that is not found: converters drop a gain of ones, and keep one slope where all are equal.
    Ones and zeros they also write, as the gain and shift of a norm that has none of its own.

    What the layers of `recurrent` names were taught, converters split by gates, join over directions, and add up: of
    those that are not found so, all values together must be what is left over in the artifact.
    """
    present = {name: value for name, value in stored.items() if _weighty(value)}
    with np.errstate(over="ignore"):  # beyond fp16 lies Inf, in the artifact as here; the outputs tell what that costs
        wanted = {
            name: value.astype(_stored_dtype(name, value, present, precision))
            for name, value in expected.items()
            if _weighty(value)
        }
    values = {_fingerprint(value) for value in present.values()}
    problems = {name: problem for name, value in wanted.items() if (problem := _problem(name, value, present, values))}
    known = {_fingerprint(value) for value in wanted.values()}
    strays = [
        name
        for name, value in present.items()
        if name not in wanted and not _neutral(value) and _fingerprint(value) not in known
    ]
    regrouped = {name for name in problems if name in recurrent and name not in present}
    if regrouped and _regrouped(regrouped, expected, [present[n] for n in strays]):
        problems, strays = {n: p for n, p in problems.items() if n not in regrouped}, []
    told = [f"{name}: {problem}" for name, problem in problems.items()]
    told += [f"{name}: the module has no such tensor" for name in strays]
    return WeightParity(tensors=len(wanted), equal=len(wanted) - len(problems), problems=tuple(told))


def _regrouped(missing: Collection[str], expected: Arrays, left: Sequence[NDArray[Any]]) -> bool:
    """Whether what is left over holds the missing values, each as often; or, as Core ML's LSTM, the biases' sums.

    They are rounded to the dtype of what is left: coremltools keeps an LSTM of an fp16 program in fp32.
    """
    if len({value.dtype for value in left}) != 1:
        return False
    apart = [expected[name] for name in missing]
    added = []
    for name in missing:
        other = name.replace("_ih_", "_hh_") if "bias_ih" in name else ""
        if "bias_hh" not in name or name.replace("_hh_", "_ih_") not in missing:  # else it is in the other's sum
            added.append(expected[name] + expected[other] if other in missing else expected[name])
    found = _fingerprint(_joined(left))
    return found in {_fingerprint(_joined(each).astype(left[0].dtype)) for each in (apart, added)}


def _joined(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([value.ravel() for value in values])


def _stored_dtype(name: str, value: NDArray[Any], present: Arrays, precision: str) -> Any:
    """The dtype that a tensor is to be stored in. "auto" leaves it to the artifact, tensor by tensor."""
    known = parse(precision)
    if known.kind != "auto":
        return np.float16 if known.compute == "fp16" else np.float32
    if name in present:
        return present[name].dtype
    exact = _fingerprint(value.astype(np.float32)) in {_fingerprint(v) for v in present.values() if v.itemsize == 4}
    return np.float32 if exact else np.float16


def _one(
    name: str,
    reference: NDArray[Any],
    candidate: NDArray[Any],
    gate: Gate,
    samples: Sequence[str],
    flips_fail: bool,
) -> OutputParity:
    if reference.shape != candidate.shape:
        return _failed(name, f"shape {candidate.shape}, expected {reference.shape}", samples)
    if not np.isfinite(reference).all():
        return _failed(name, "the oracle's own value is not finite", samples)
    if not np.isfinite(candidate).all():
        row = int(np.argmax(~np.isfinite(candidate.reshape(len(samples), -1)).all(axis=1)))
        return _failed(name, f"NaN or Inf on {samples[row]}", samples)
    pairs = list(zip(reference, candidate, strict=True))
    peak = float(np.max(np.abs(reference), initial=0.0))
    ratios = [metrics.psnr_db(r, c, peak=peak) for r, c in pairs]
    low = int(np.argmin(ratios))
    scores = reference[0].squeeze().ndim == 1 and reference[0].size > 1
    agreements = [[metrics.top_k_agrees(r.ravel(), c.ravel(), k) for r, c in pairs] if scores else None for k in (1, 5)]
    top1, top5 = (None if a is None else sum(a) / len(a) for a in agreements)
    verdict: Verdict = "pass" if ratios[low] >= gate.passes else "warn" if ratios[low] >= gate.fails else "fail"
    reason = "" if verdict == "pass" else f"{ratios[low]:.1f} dB on {samples[low]}, gate {gate.passes:.0f} dB"
    if flips_fail and top1 is not None and top1 < 1.0:
        flipped = agreements[0].index(False) if agreements[0] else 0
        verdict, reason = "fail", f"another class wins on {samples[flipped]}, by more than the error explains"
    return OutputParity(
        name=name,
        psnr_db=None if math.isinf(ratios[low]) and ratios[low] > 0 else _finite(ratios[low]),
        relative_l2=_finite(max(metrics.relative_l2(r, c) for r, c in pairs)),
        cosine=min(metrics.cosine(r, c) for r, c in pairs),
        max_abs=max(metrics.max_abs(r, c) for r, c in pairs),
        samples=len(samples),
        verdict=verdict,
        top1=top1,
        top5=top5,
        worst_sample=samples[low],
        reason=reason,
    )


def _failed(name: str, reason: str, samples: Sequence[str]) -> OutputParity:
    return OutputParity(
        name=name,
        psnr_db=FAILED_DB,
        relative_l2=999.0,
        cosine=0.0,
        max_abs=0.0,
        samples=len(samples),
        verdict="fail",
        reason=reason,
    )


def _finite(value: float) -> float:
    """JSON has no infinities; a ratio beyond any real one stands in."""
    return max(FAILED_DB, min(-FAILED_DB, value))


def _weighty(value: NDArray[Any]) -> bool:
    return value.dtype.kind == "f" and value.size > 1


def _fingerprint(value: NDArray[Any]) -> bytes:
    """The multiset of values, whatever the layout, in the stored dtype."""
    return np.sort(value.astype(np.float32), axis=None).tobytes()


def _neutral(value: NDArray[Any]) -> bool:
    """All 1 or all 0, as the gain and the shift of a norm that has none: they change nothing."""
    return bool((value == 1).all() or (value == 0).all())


def _uniform(value: NDArray[Any]) -> bool:
    return bool((value == value.flat[0]).all())


def _problem(name: str, value: NDArray[Any], present: Arrays, values: set[bytes]) -> str:
    """What is wrong with a tensor; empty when it is stored, under its name or merged into an equal one."""
    stored = present.get(name)
    if stored is None:
        found = _uniform(value) or _fingerprint(value) in values
        return "" if found else "no tensor of the artifact has these values"
    if stored.size != value.size:
        return f"{stored.size} values stored, {value.size} expected"
    if stored.shape == value.shape or 1 in (stored.ndim, value.ndim):
        equal = np.array_equal(stored.ravel(), value.ravel())
    else:
        equal = _fingerprint(stored) == _fingerprint(value)
    if equal:
        return ""
    difference = metrics.relative_l2(value.astype(np.float64).ravel(), stored.astype(np.float64).ravel())
    return f"stored values differ by {difference:.2%}"
