"""A loaded function of an ML Program package: what a user predicts with.

In: a path, then inputs by name. Out: outputs by name, as Core ML's own `predict` gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swiftdeploy.errors import ModelError
from swiftdeploy.mil import binder, features, interpreter, numerics, reader
from swiftdeploy.mil.interpreter import Observer
from swiftdeploy.mil.kernels.registry import Cell
from swiftdeploy.mil.plan import Plan
from swiftdeploy.mil.program import Feature, Function, Interface, Program, StateType


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The states of one stateful model, all zero when made; `predict` changes them in place."""

    cells: Mapping[str, Cell]

    def read_state(self, name: str) -> np.ndarray:
        """A copy of one state, float32 (its values are representable in its declared dtype)."""
        return self._cell(name).value.numpy().copy()

    def write_state(self, name: str, value: Any) -> None:
        """Replace one state by an array of its shape. Raises ModelError where name or shape do not fit."""
        cell = self._cell(name)
        array = np.asarray(value, dtype=np.float32)
        if array.shape != tuple(cell.value.shape):
            raise ModelError(
                f"the state {name!r} is given with shape {array.shape}", hint=f"its shape is {tuple(cell.value.shape)}"
            )
        # Core ML keeps states in half precision only.
        cell.value = numerics.settle(torch.from_numpy(array.copy()), torch.float16)

    def _cell(self, name: str) -> Cell:
        if name not in self.cells:
            raise ModelError(f"there is no state {name!r}", hint=f"the states are {', '.join(self.cells) or 'none'}")
        return self.cells[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedProgram:
    """One function of a package, ready to run. Runs are independent of each other, also in threads."""

    program: Program
    function_name: str
    plan: Plan

    @property
    def function(self) -> Function:
        """The function that runs, as parsed."""
        return self.program.functions[self.function_name]

    @property
    def interface(self) -> Interface:
        """What an app gives to the function and gets from it."""
        return self.program.interfaces[self.function_name]

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """The inputs that `predict` takes."""
        return self.interface.inputs

    @property
    def outputs(self) -> tuple[Feature, ...]:
        """The outputs that `predict` gives."""
        return self.interface.outputs

    def make_state(self) -> State:
        """Fresh states, all zero. Raises ModelError where the function keeps none."""
        cells = {}
        for value in self.function.inputs:
            if isinstance(value.type, StateType):
                sizes = [size or 0 for size in value.type.tensor.shape]
                cells[value.name] = Cell(value=torch.zeros(sizes, dtype=torch.float32))
        if not cells:
            raise ModelError(f"function {self.function_name} keeps no state", hint="call predict without a state")
        return State(cells=cells)

    def predict(
        self, inputs: Mapping[str, Any], state: State | None = None, observe: Observer | None = None
    ) -> dict[str, Any]:
        """The outputs by name, as coremltools' `MLModel.predict` gives them (see `features`).

        `observe(op name, op type, outputs)` is called after each op with the carried values of its outputs. Raises
        ModelError for inputs that do not fit, ArtifactError where the program contradicts itself as it runs.
        """
        features.check_names(inputs, self.inputs)
        # Features say what an app may give, declarations what dtype and rank the program computes with.
        declared = {value.name: value for value in self.function.inputs}
        values: dict[str, Any] = {}
        for feature in self.inputs:
            if feature.name in inputs:
                values[feature.name] = features.to_value(inputs[feature.name], feature, declared[feature.name])
            else:
                values[feature.name] = features.default_value(feature, declared[feature.name])
        values.update(self._states(state))
        answers = interpreter.run(self.plan, values, observe)
        return {feature.name: features.from_value(answers[feature.name], feature) for feature in self.outputs}

    def _states(self, state: State | None) -> Mapping[str, Cell]:
        wanted = {value.name for value in self.function.inputs if isinstance(value.type, StateType)}
        if state is None:
            if wanted:
                raise ModelError(f"function {self.function_name} needs a state", hint="pass state=make_state()")
            return {}
        if set(state.cells) != wanted:
            raise ModelError("the state was made by another function", hint="pass the answer of this make_state()")
        return state.cells


def load_program(path: str | Path, function_name: str | None = None) -> LoadedProgram:
    """The function `function_name` (default: the package's own default) of the package at `path`, ready to predict.

    Raises ArtifactError for a damaged package or one with ops that are not known (all are listed), ModelError for a
    function that is not there.
    """
    program = reader.read_program(path)
    name = program.default_function if function_name is None else function_name
    if name not in program.functions:
        raise ModelError(f"{path} has no function {name!r}", hint=f"its functions are {', '.join(program.functions)}")
    return LoadedProgram(program=program, function_name=name, plan=binder.bind(program.functions[name]))
