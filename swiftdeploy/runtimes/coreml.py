"""Core ML packages in the reference runtime: numerics without a Mac.

It models Core ML's typed execution (fp32 arithmetic, one rounding an op), not the Neural Engine's accumulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import load_program
from swiftdeploy.mil.program import Block, Constant, Feature, Function
from swiftdeploy.spec import TensorSpec

_CONSTANT_SUFFIXES = ("_to_fp16", "_cast_fp16")


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreMLPackage:
    """An opened .mlpackage. A classifier answers with its probabilities alone, in the order of its labels."""

    model: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    images: frozenset[str]

    @property
    def image(self) -> bool:
        """Whether the first input is an image."""
        return bool(self.inputs) and self.inputs[0].name in self.images

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One prediction. Raises ArtifactError where a classifier's label is not its most probable class."""
        answers = self.model.predict(self.feeds(inputs), self._state())
        return {name: value for name, value in _tensors(answers).items() if name in self.outputs}

    def intermediates(self, inputs: Mapping[str, NDArray[Any]]) -> list[tuple[str, str, NDArray[Any]]]:
        """Every value that an op of the program computes, in order."""
        seen: list[tuple[str, str, NDArray[Any]]] = []

        def observe(_: str, op: str, outputs: Mapping[str, Any]) -> None:
            seen.extend((name, op, value.numpy()) for name, value in outputs.items() if hasattr(value, "numpy"))

        self.model.predict(self.feeds(inputs), self._state(), observe)
        return seen

    def _state(self) -> Any:
        """A fresh state for a stateful program: every prediction starts anew, so that it can be repeated."""
        interface = self.model.program.interfaces[self.model.function_name]
        return self.model.make_state() if interface.states else None

    def feeds(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The same inputs as the package itself takes them: an image as uint8 (H, W, C), an array in its dtype."""
        return {spec.name: self._feed(spec, inputs[spec.name]) for spec in self.inputs if spec.name in inputs}

    def _feed(self, spec: TensorSpec, given: NDArray[Any]) -> NDArray[Any]:
        if spec.name not in self.images:
            return np.ascontiguousarray(given).astype(spec.dtype)
        pixels = np.asarray(given[0]).transpose(1, 2, 0).round().astype(np.uint8)
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Every stored float tensor, under the program's name where coremltools kept it."""
        found: dict[str, NDArray[Any]] = {}
        for name, value in _constants(self.function.block).items():
            stem = name
            for suffix in _CONSTANT_SUFFIXES:
                stem = stem.removesuffix(suffix)
            found[stem] = value
        return found

    def op_counts(self) -> dict[str, int]:
        """How many ops of each type the program holds, constants aside."""
        counts: dict[str, int] = {}
        for operation in self.function.block.operations:
            if operation.type != "const":
                counts[operation.type] = counts.get(operation.type, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def function(self) -> Function:
        """The parsed program's default function."""
        program = self.model.program
        found: Function = program.functions[program.default_function]
        return found


def open_package(path: Path) -> CoreMLPackage:
    """Open a package. Raises ArtifactError where it is damaged or holds ops that the runtime does not know."""
    model = load_program(str(path))
    program = model.program
    interface = program.interfaces[program.default_function]
    names = [f.name for f in interface.outputs if f.name != interface.label]
    return CoreMLPackage(
        model=model,
        inputs=tuple(_spec(feature) for feature in interface.inputs),
        outputs=tuple(names),
        images=frozenset(feature.name for feature in interface.inputs if feature.kind == "image"),
    )


def _spec(feature: Feature) -> TensorSpec:
    if feature.kind == "image":
        channels = 1 if feature.color.startswith("GRAYSCALE") else 3
        return TensorSpec(name=feature.name, shape=(1, channels, feature.height, feature.width), dtype="uint8")
    return TensorSpec(name=feature.name, shape=feature.shape, dtype=feature.dtype)


def _tensors(answers: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    tables = {name: value for name, value in answers.items() if isinstance(value, dict)}
    labels = [value for value in answers.values() if isinstance(value, (str, int)) and not isinstance(value, bool)]
    found = {
        name: np.asarray(_opaque(value) if isinstance(value, Image.Image) else value, np.float32)
        for name, value in answers.items()
        if isinstance(value, (np.ndarray, Image.Image))
    }
    for name, table in tables.items():
        best = max(table, key=lambda label: table[label])
        if labels and labels[0] != best and table[labels[0]] != table[best]:
            raise ArtifactError(
                f"the classifier says {labels[0]!r}, its probabilities say {best!r}", hint="export the package again"
            )
        found[name] = np.asarray([list(table.values())], np.float32)
    return found


def _opaque(image: Image.Image) -> Image.Image:
    """Without the opacity that Core ML adds to a colour image, which no model computes."""
    return image.convert("RGB") if image.mode == "RGBA" else image


def _constants(block: Block) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for operation in block.operations:
        for nested in operation.blocks:
            found.update(_constants(nested))
        for name, bindings in operation.inputs.items():
            for binding in bindings:
                if isinstance(binding, Constant) and isinstance(binding.value, np.ndarray):
                    key = operation.outputs[0].name if operation.type == "const" else f"{operation.name}.{name}"
                    found[key] = binding.value
    return {name: value for name, value in found.items() if value.dtype.kind == "f"}
