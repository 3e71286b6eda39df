"""What a Core ML package says of its own inputs and outputs, in the words of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy.errors import ModelError
from swiftdeploy.harness.plan import TensorPlan
from swiftdeploy.mil.program import Feature, Program, TensorType
from swiftdeploy.mil.reader import read_program

_FIRST_SPECIFICATION = 6
_IOS = (15, 16, 17, 18, 26)
_HINT = "measure a model with fixed shapes; export without flexible ones"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageFacts:
    """Inputs and outputs as the app sees them, and the oldest iOS that loads the package."""

    inputs: tuple[TensorPlan, ...]
    outputs: tuple[TensorPlan, ...]
    min_ios: int


def describe(package: Path, *, labels: Sequence[str] = ()) -> PackageFacts:
    """The facts of the .mlpackage at `package`; a classifier's `labels` give its probabilities their length.

    A label output (a string) is left out: it has no numbers. Raises ArtifactError for a damaged package, ModelError for
    what a plan cannot hold: flexible shapes, states, sequences.
    """
    program = read_program(package)
    interface = program.interfaces[program.default_function]
    if interface.states:
        raise ModelError(f"{package.name} keeps a state between predictions", hint="measure a model without states")
    outputs = [feature for feature in interface.outputs if feature.kind != "string"]
    version = min(max(program.specification_version - _FIRST_SPECIFICATION, 0), len(_IOS) - 1)
    return PackageFacts(
        inputs=tuple(_plan(program, feature, ()) for feature in interface.inputs),
        outputs=tuple(_plan(program, feature, labels) for feature in outputs),
        min_ios=_IOS[version],
    )


def _plan(program: Program, feature: Feature, labels: Sequence[str]) -> TensorPlan:
    if feature.kind == "image":
        channels = 1 if feature.color.startswith("GRAYSCALE") else 3
        shape = (1, channels, feature.height, feature.width)
        return TensorPlan(name=feature.name, shape=shape, dtype="uint8", kind="image")
    if feature.kind == "dictionary":
        return TensorPlan(name=feature.name, shape=(1, len(labels)), dtype="float32", kind="probabilities")
    if feature.kind != "array" or feature.shapes or feature.ranges:
        raise ModelError(f"{feature.name!r} is a {feature.kind} whose shape is not fixed", hint=_HINT)
    found = feature.shape or _declared_shape(program, feature.name)
    if not found:
        raise ModelError(f"{feature.name!r} has no fixed shape", hint=_HINT)
    return TensorPlan(name=feature.name, shape=found, dtype=feature.dtype)


def _declared_shape(program: Program, name: str) -> tuple[int, ...]:
    """The shape of a value of the program; descriptions may leave an output's shape out."""
    for operation in program.functions[program.default_function].block.operations:
        for output in operation.outputs:
            if output.name == name and isinstance(output.type, TensorType):
                sizes = tuple(size for size in output.type.shape if size is not None)
                return sizes if len(sizes) == len(output.type.shape) else ()
    return ()
