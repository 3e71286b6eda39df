"""The same plan on this machine: the rounds, warm-ups and statistics of the phone, around any Python callable.

In: a plan whose `compute_units` name runtimes of this host ("onnxruntime", "eager", ...), and one callable a pair. Out:
a `Measurement` like the phone's, which `results.sealed` writes and `results.read_result` reads. To state the machine's
noise, give one runtime under two names and compare the two (`compare.compare_units`).
"""

from __future__ import annotations

import datetime
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.measurement import (
    KIND,
    DeviceFacts,
    DeviceParity,
    LoadTimes,
    Measurement,
    PairResult,
    PowerFacts,
    PowerReading,
    ProcessFacts,
    Round,
    ThermalFacts,
    WarmUp,
)
from swiftdeploy.harness.plan import ModelPlan, Plan, WarmUpPlan
from swiftdeploy.harness.statistics import median, summarize

Clock = Callable[[], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRunner:
    """One model in one runtime: `predict` runs one prediction on inputs that it holds.

    `load_ns` is what loading took, in nanoseconds; `parity` is what comparing with the golden data gave, one for each
    output of the model.
    """

    predict: Callable[[], object]
    parity: tuple[DeviceParity, ...]
    load_ns: int = 0


def measure_here(
    plan: Plan,
    runners: Mapping[tuple[str, str], HostRunner],
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Measurement:
    """Run `plan` with one runner for each (label, unit) of it.

    Hosts do not tell their thermal state: the measurement says nominal, and drift is what shows heat. Raises UsageError
    where a pair has no runner.
    """
    missing = [f"{model.label} on {unit}" for model, unit in plan.pairs if (model.label, unit) not in runners]
    if missing:
        raise UsageError(f"no runner for {', '.join(missing)}", hint="give one for every pair of the plan")
    rounds: list[list[Round]] = [[] for _ in plan.pairs]
    first = [_time(runners[model.label, unit].predict, clock) for model, unit in plan.pairs]
    start = clock()
    for index, order in enumerate(plan.schedule()):
        for position, pair in enumerate(order):
            sleep(plan.thermal.pause_milliseconds / 1000)
            model, unit = plan.pairs[pair]
            rounds[pair].append(_round(plan, runners[model.label, unit], index, position, start, clock))
    power = PowerReading(low_power_mode=False)
    return Measurement(
        schema=plan.schema,
        kind=KIND,
        created_at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        launch_id=str(uuid.uuid4()),
        plan=plan,
        device=this_host(),
        process=ProcessFacts(debug_build=False, debugger_attached=False, host="command-line"),
        power=PowerFacts(before=power, after=power),
        thermal=ThermalFacts(before="nominal", max="nominal", after="nominal", waited_ms=0),
        pairs=tuple(
            _pair(plan, model, unit, runners[model.label, unit], first[i], tuple(rounds[i]))
            for i, (model, unit) in enumerate(plan.pairs)
        ),
        invalid=(),
        seal="0" * 64,
    )


def this_host() -> DeviceFacts:
    """What can be said of this machine without leaving Python."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return DeviceFacts(
        kind="host",
        model=platform.machine() or "unknown",
        system=platform.system(),
        os_version=platform.release(),
        os_build=platform.version(),
        processors=os.cpu_count() or 0,
        memory_bytes=pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else 0,
    )


def warm_up(plan: WarmUpPlan, predict: Callable[[], int]) -> WarmUp:
    """Predict until two windows' medians agree; `predict` answers with its nanoseconds."""
    times: list[float] = []
    while len(times) < plan.maximum:
        times.append(predict() / 1e6)
        if len(times) >= max(plan.minimum, 2 * plan.window) and _settled(times, plan):
            return WarmUp(predictions=len(times), settled=True)
    return WarmUp(predictions=len(times), settled=False)


def _settled(times: list[float], plan: WarmUpPlan) -> bool:
    last, before = median(times[-plan.window :]), median(times[-2 * plan.window : -plan.window])
    return abs(last - before) * 1000 < plan.tolerance_permille * before


def _time(predict: Callable[[], object], clock: Clock) -> int:
    begin = clock()
    predict()
    # A clock too coarse for the call would state that it took no time, which no importer believes.
    return max(clock() - begin, 1)


def _round(plan: Plan, runner: HostRunner, index: int, position: int, start: int, clock: Clock) -> Round:
    begin = clock() - start
    warm = warm_up(plan.warm_up, lambda: _time(runner.predict, clock))
    samples = tuple(_time(runner.predict, clock) for _ in range(plan.predictions_per_round))
    return Round(index=index, position=position, start_ns=begin, thermal="nominal", warm_up=warm, samples_ns=samples)


def _pair(
    plan: Plan, model: ModelPlan, unit: str, runner: HostRunner, first_ns: int, rounds: tuple[Round, ...]
) -> PairResult:
    figures = summarize(
        [r.samples_ns for r in rounds],
        resamples=plan.bootstrap.resamples,
        confidence_percent=plan.bootstrap.confidence_percent,
        seed=plan.seed,
    )
    load = LoadTimes(cold_ns=runner.load_ns, warm_ns=runner.load_ns, first_prediction_ns=first_ns, output_backings=True)
    return PairResult(
        model=model.name,
        precision=model.precision,
        sha256=model.sha256,
        unit=unit,
        status="measured",
        load=load,
        placement=(),
        parity=runner.parity,
        rounds=rounds,
        statistics=figures,
    )
