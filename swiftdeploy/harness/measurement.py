"""What a device wrote, as frozen values: the JSON of `BenchCore/Result.swift`, field by field.

Times with the suffix `_ns` are nanoseconds. `results` checks a file before it becomes one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swiftdeploy.harness.plan import Plan, Thermal
from swiftdeploy.harness.statistics import Statistics

KIND = "swiftdeploy-latency"

DeviceKind = Literal["phone", "simulator", "mac", "simulated", "host"]
Status = Literal["measured", "failed", "timed_out", "crashed"]
Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What was measured on; `model` is the hardware's identifier, such as "iPhone14,7"."""

    kind: DeviceKind
    model: str
    system: str
    os_version: str
    os_build: str
    processors: int
    memory_bytes: int

    @property
    def column(self) -> str:
        """What a column of figures may share: one hardware model with one build of its system."""
        return f"{self.model}, {self.system} {self.os_version} ({self.os_build})"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessFacts:
    """The process that measured; `host` is "app", "xctest" or "command-line"."""

    debug_build: bool
    debugger_attached: bool
    host: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerReading:
    """Battery and power mode at one moment; None where the system does not say."""

    low_power_mode: bool
    battery_percent: int | None = None
    charging: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerFacts:
    """Power before and after a run."""

    before: PowerReading
    after: PowerReading


@dataclass(frozen=True, kw_only=True, slots=True)
class ThermalFacts:
    """Temperature over a run, and the milliseconds spent on waiting for it to fall."""

    before: Thermal
    max: Thermal
    after: Thermal
    waited_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadTimes:
    """The times before steady state. `compile_ns` is None where Xcode compiled the package.

    `cold_ns` is a load from a path that the system has not seen; `warm_ns` one from the same path again.
    """

    cold_ns: int
    warm_ns: int
    first_prediction_ns: int
    output_backings: bool
    compile_ns: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpPlacement:
    """Where Core ML means to run one op; `cost` is the op's share of the model's estimated cost."""

    op: str
    output: str
    preferred: str
    supported: tuple[str, ...]
    cost: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleParity:
    """One sample of one output against the golden answer; `top1` and `top5` are None where there are no scores."""

    max_abs_reference: float
    squared_error: float
    max_abs: float
    non_finite: int
    top1: bool | None = None
    top5: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceParity:
    """One output on the device; `psnr_db` is the worst sample's, None where all are equal to the bit."""

    output: str
    count: int
    verdict: Verdict
    samples: tuple[SampleParity, ...]
    psnr_db: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """Predictions of a warm-up, and whether latency settled."""

    predictions: int
    settled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round of one pair: `position` is its place in the round's order, `start_ns` counts from the run's start."""

    index: int
    position: int
    start_ns: int
    thermal: Thermal
    warm_up: WarmUp
    samples_ns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairResult:
    """One model on one compute unit."""

    model: str
    precision: str
    sha256: str
    unit: str
    status: Status
    placement: tuple[OpPlacement, ...]
    parity: tuple[DeviceParity, ...]
    rounds: tuple[Round, ...]
    weights_sha256: str | None = None
    reason: str | None = None
    load: LoadTimes | None = None
    statistics: Statistics | None = None

    @property
    def label(self) -> str:
        """What tells the pair's model from the others."""
        return f"{self.model}-{self.precision}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Everything that one run found."""

    schema: int
    kind: str
    created_at: str
    launch_id: str
    plan: Plan
    device: DeviceFacts
    process: ProcessFacts
    power: PowerFacts
    thermal: ThermalFacts
    pairs: tuple[PairResult, ...]
    invalid: tuple[str, ...]
    seal: str

    def pair(self, label: str, unit: str) -> PairResult | None:
        """The pair of a model's label and a compute unit, None where the run has none."""
        return next((pair for pair in self.pairs if pair.label == label and pair.unit == unit), None)
