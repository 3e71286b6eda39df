"""The measurement plan: what runs, how often, how warm and how hot; the same JSON object that Swift reads.

All numbers but the gate are integers, so that the two languages cannot print them differently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.splitmix import shuffles

Thermal = Literal["nominal", "fair", "serious", "critical"]
TensorKind = Literal["tensor", "image", "probabilities"]

SCHEMA = 1
THERMAL_STATES: tuple[Thermal, ...] = ("nominal", "fair", "serious", "critical")
COMPUTE_UNITS = ("all", "cpuAndNeuralEngine", "cpuAndGPU", "cpuOnly")

# An importer computes every bootstrap again; a plan must not keep it busy for hours.
MOST_DRAWS = 1 << 31


def hotter(a: Thermal, b: Thermal) -> bool:
    """Whether `a` is hotter than `b`."""
    return THERMAL_STATES.index(a) > THERMAL_STATES.index(b)


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorPlan:
    """One input or output: shape of one prediction, numpy dtype name as Core ML declares it.

    `kind` is "tensor" (a multiarray), "image" (a pixel buffer; golden values are planes in 0..255) or "probabilities"
    (a classifier's dictionary, read in the order of the model's labels).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float16"
    kind: TensorKind = "tensor"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """One model of a plan. `resource` is the package's file name without extension, golden names are file names."""

    name: str
    precision: str
    resource: str
    sha256: str
    weights_sha256: str
    gate_db: float
    inputs: tuple[TensorPlan, ...]
    outputs: tuple[TensorPlan, ...]
    golden_inputs: str
    golden_outputs: str
    labels: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What tells this model from the others of a plan."""
        return f"{self.name}-{self.precision}"


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUpPlan:
    """A warm-up ends after `minimum` predictions once two windows' medians agree, at the latest after `maximum`."""

    minimum: int = 20
    maximum: int = 400
    window: int = 10
    tolerance_permille: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ThermalPlan:
    """A round starts at `start_limit` or cooler; above `round_limit` it counts as throttled."""

    start_limit: Thermal = "nominal"
    round_limit: Thermal = "fair"
    pause_milliseconds: int = 500
    poll_milliseconds: int = 1000
    wait_seconds: int = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapPlan:
    """Draws of the bootstrap, and the width of its interval in percent."""

    resamples: int = 1000
    confidence_percent: int = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that decides how a run goes; `models` is filled by `render`.

    Raises UsageError for a plan that measures nothing.
    """

    schema: int = SCHEMA
    seed: int = 2023
    rounds: int = 20
    predictions_per_round: int = 50
    compute_units: tuple[str, ...] = COMPUTE_UNITS
    warm_up: WarmUpPlan = field(default_factory=WarmUpPlan)
    thermal: ThermalPlan = field(default_factory=ThermalPlan)
    load_timeout_seconds: int = 180
    bootstrap: BootstrapPlan = field(default_factory=BootstrapPlan)
    models: tuple[ModelPlan, ...] = ()

    def __post_init__(self) -> None:
        counts = {
            "rounds": self.rounds,
            "predictions_per_round": self.predictions_per_round,
            "load_timeout_seconds": self.load_timeout_seconds,
            "bootstrap.resamples": self.bootstrap.resamples,
            "warm_up.window": self.warm_up.window,
            "thermal.poll_milliseconds": self.thermal.poll_milliseconds,
        }
        for name, value in counts.items():
            if value < 1:
                raise UsageError(f"the plan's {name} is {value}", hint="give a positive number")
        work = self.rounds * self.predictions_per_round * self.bootstrap.resamples
        if work > MOST_DRAWS:
            raise UsageError(
                f"the plan's bootstrap takes {work:.0e} draws, more than can be computed again",
                hint="use fewer rounds, predictions or resamples",
            )
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"the plan's seed {self.seed} does not fit 64 bits", hint="use 0 to 2**64 - 1")
        if not 1 <= self.bootstrap.confidence_percent <= 99:
            raise UsageError(
                f"the plan's confidence is {self.bootstrap.confidence_percent} %", hint="use 1 to 99, such as 95"
            )
        if not self.compute_units or len(set(self.compute_units)) != len(self.compute_units):
            raise UsageError("the plan names no compute unit, or one twice", hint=f"choose from {COMPUTE_UNITS}")
        labels = [model.label for model in self.models]
        if len(set(labels)) != len(labels):
            raise UsageError(f"two models of the plan share a label: {labels}", hint="give each its own name")
        resources = [model.resource for model in self.models]
        if len(set(resources)) != len(resources):
            raise UsageError(
                f"two models of the plan share a file name: {resources}",
                hint="give names that differ in more than dots and plus signs",
            )

    @property
    def pairs(self) -> tuple[tuple[ModelPlan, str], ...]:
        """Every model on every compute unit, models outermost."""
        return tuple((model, unit) for model in self.models for unit in self.compute_units)

    def schedule(self) -> tuple[tuple[int, ...], ...]:
        """For each round the order of `pairs`, from the seed alone."""
        return shuffles(self.seed, len(self.pairs), self.rounds)
