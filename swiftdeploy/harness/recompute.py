"""Everything in a measurement that follows from the rest of it, computed again.

In: a decoded `Measurement`. Out: problems in words. It shares no code with the device, and reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from swiftdeploy.harness.measurement import DeviceParity, Measurement, PairResult, SampleParity
from swiftdeploy.harness.plan import ModelPlan, Plan, hotter
from swiftdeploy.harness.statistics import summarize
from swiftdeploy.spec import to_plain

WARNING_BAND_DB = 10.0

# The device rounds as this machine does; what is left is how two libraries print and parse decimals.
_TOLERANCE = 1e-9


def psnr_db(sample: SampleParity, count: int) -> float | None:
    """20 log10(max|reference| / rmse) in dB of one sample of `count` scalars; None where nothing differs."""
    if sample.squared_error == 0:
        return None
    if sample.max_abs_reference == 0:
        return 0.0
    return 20 * math.log10(sample.max_abs_reference / math.sqrt(sample.squared_error / count))


def worst_psnr_db(parity: DeviceParity) -> float | None:
    """The worst PSNR over all samples of an output, None where all are equal to the bit."""
    found = [value for sample in parity.samples if (value := psnr_db(sample, parity.count)) is not None]
    return min(found, default=None)


def parity_verdict(parity: DeviceParity, gate_db: float) -> str:
    """The verdict: "pass" at the gate, "warn" to ten dB below, "fail" under that, and for NaN, Inf or a lost top-1."""
    if not parity.samples or any(s.non_finite or s.top1 is False for s in parity.samples):
        return "fail"
    worst = worst_psnr_db(parity)
    if worst is None or worst >= gate_db:
        return "pass"
    return "warn" if worst >= gate_db - WARNING_BAND_DB else "fail"


def spoiling_facts(measurement: Measurement) -> tuple[str, ...]:
    """Why the figures should not be quoted, from the recorded facts: names of `results.ALLOWANCES`."""
    limit = measurement.plan.thermal.round_limit
    power = measurement.power
    facts = {
        "debug_build": measurement.process.debug_build,
        "debugger": measurement.process.debugger_attached,
        "simulator": measurement.device.kind in ("simulator", "simulated"),
        "low_power_mode": power.before.low_power_mode or power.after.low_power_mode,
        "thermal": any(hotter(r.thermal, limit) for pair in measurement.pairs for r in pair.rounds),
    }
    return tuple(name for name, holds in facts.items() if holds)


def check_consistency(measurement: Measurement) -> Iterator[str]:
    """Each way in which the measurement contradicts itself."""
    plan = measurement.plan
    if len(measurement.pairs) != len(plan.pairs):
        yield f"holds {len(measurement.pairs)} pairs of model and compute unit, its plan {len(plan.pairs)}"
        return
    if measurement.invalid != spoiling_facts(measurement):
        yield f"calls itself invalid for {list(measurement.invalid)}, its facts say {list(spoiling_facts(measurement))}"
    places = [{pair: place for place, pair in enumerate(order)} for order in plan.schedule()]
    for index, (pair, (model, unit)) in enumerate(zip(measurement.pairs, plan.pairs, strict=True)):
        where = f"{model.label} on {unit}"
        if (pair.label, pair.unit) != (model.label, unit):
            yield f"has {pair.label} on {pair.unit} where its plan has {where}"
            return
        if pair.sha256 != model.sha256:
            yield f"names another hash for {where} than its plan"
        yield from (f"{problem} ({where})" for problem in _check_rounds(pair, plan, [p[index] for p in places]))
        yield from (f"{problem} ({where})" for problem in _check_figures(pair, plan))
        yield from (f"{problem} ({where})" for problem in _check_parity(pair, model))


def _check_rounds(pair: PairResult, plan: Plan, places: list[int]) -> Iterator[str]:
    if pair.status == "measured" and len(pair.rounds) != plan.rounds:
        yield f"holds {len(pair.rounds)} rounds, its plan {plan.rounds}"
    for expected, found in enumerate(pair.rounds):
        if found.index != expected or expected >= len(places):
            yield f"lacks round {expected}"
            return
        if found.position != places[expected]:
            yield f"ran round {expected} at place {found.position}, the seed says {places[expected]}"
        if len(found.samples_ns) != plan.predictions_per_round:
            yield f"holds {len(found.samples_ns)} samples in round {expected}, not {plan.predictions_per_round}"
        if any(value <= 0 for value in found.samples_ns):
            yield f"holds a sample of zero time in round {expected}"


def _check_figures(pair: PairResult, plan: Plan) -> Iterator[str]:
    expected = summarize(
        [r.samples_ns for r in pair.rounds],
        resamples=plan.bootstrap.resamples,
        confidence_percent=plan.bootstrap.confidence_percent,
        seed=plan.seed,
    )
    if (expected is None) != (pair.statistics is None):
        yield "has statistics without samples, or samples without statistics"
    if expected is None or pair.statistics is None:
        return
    found = _flat(to_plain(pair.statistics))
    for name, value in _flat(to_plain(expected)).items():
        if not math.isclose(found[name], value, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            yield f"states {name} {found[name]:.6g}, its samples give {value:.6g}"


def _check_parity(pair: PairResult, model: ModelPlan) -> Iterator[str]:
    if pair.status == "measured" and [p.output for p in pair.parity] != [o.name for o in model.outputs]:
        yield "does not hold one parity for each output"
    for parity in pair.parity:
        worst = worst_psnr_db(parity)
        stated = parity.psnr_db
        if (worst is None) != (stated is None) or not math.isclose(worst or 0, stated or 0, rel_tol=_TOLERANCE):
            yield f"states a PSNR of {stated} dB for {parity.output}, its errors give {worst}"
        if parity.verdict != parity_verdict(parity, model.gate_db):
            yield f"states {parity.verdict} for {parity.output}, its errors give another verdict"


def _flat(plain: dict[str, float | dict[str, float]], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            flat |= _flat(dict(value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
