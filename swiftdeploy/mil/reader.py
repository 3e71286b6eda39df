"""A saved ML Program package, read from disk and checked, as the frozen values of `program`.

In: a path. Out: a `Program` whose every reference is defined before it is used. Everything that does not hold is an
ArtifactError that names the place: a damaged file never becomes a half-read program. Knows protobuf; knows no torch.
"""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import interface, messages, package, values, weights
from swiftdeploy.mil.program import (
    Binding,
    Block,
    Function,
    Interface,
    NamedType,
    Operation,
    Program,
    StateType,
    TensorType,
)

# iOS26. A newer one may give a known op a new meaning, so that it is refused rather than tried.
MAX_SPECIFICATION_VERSION = 10
# Programs seen so far have some thousands of operations, and blocks two deep.
MAX_OPERATIONS = 200_000
MAX_DEPTH = 24
_HINT = "the package is damaged or was not written by a Core ML converter"


@dataclass(kw_only=True, slots=True)
class _Reading:
    """What one reading counts and keeps open; it lives for one call of `read_program`."""

    package: package.Package
    operations: int = 0
    blobs: dict[str, weights.Blobs] = field(default_factory=dict)

    def blob(self, name: str, offset: int, declared: TensorType) -> np.ndarray:
        if name not in self.blobs:
            self.blobs[name] = weights.open_blobs(package.weight_path(self.package, name))
        shape = tuple(size for size in declared.shape if size is not None)
        return weights.read_blob(self.blobs[name], offset, dtype=declared.dtype, shape=shape)


def read_program(path: str | Path) -> Program:
    """The program of the .mlpackage (or bare .mlmodel) at `path`.

    Raises ArtifactError for a damaged package, a newer specification than is known, or a model that is no ML Program.
    """
    opened = package.open_package(Path(path))
    data = package.read_model_bytes(opened)
    model = messages.load("Model_pb2").Model()
    try:
        model.ParseFromString(data)
    except messages.DecodeError as error:
        raise ArtifactError(f"{opened.model} is not a Core ML specification", hint=_HINT) from error
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise ArtifactError(
            f"{path} holds a model of type {kind or 'none'}, not an ML Program",
            hint="convert it with convert_to='mlprogram'; only ML Programs can be run here",
        )
    if model.specificationVersion > MAX_SPECIFICATION_VERSION:
        raise ArtifactError(
            f"{path} has specification version {model.specificationVersion}, this reader knows up to "
            f"{MAX_SPECIFICATION_VERSION}",
            hint="use a newer swiftdeploy, or export for an older iOS",
        )
    return _program(model, _Reading(package=opened))


def _program(model: Any, reading: _Reading) -> Program:
    functions = {name: _function(name, m, reading) for name, m in sorted(model.mlProgram.functions.items())}
    default = model.description.defaultFunctionName or ("main" if "main" in functions else next(iter(functions), ""))
    interfaces = interface.read_interfaces(model.description, default)
    if default not in functions or set(interfaces) != set(functions):
        raise ArtifactError(
            f"the description names the functions {_names(interfaces)}, the program has {_names(functions)}", hint=_HINT
        )
    for name, function in functions.items():
        _check_interface(function, interfaces[name])
    # Library versions stand in the program, texts for people in the description.
    build = model.mlProgram.attributes.get("buildInfo")
    texts = model.description.metadata
    metadata = {
        "author": texts.author,
        "license": texts.license,
        "version": texts.versionString,
        "description": texts.shortDescription,
        **({} if build is None else values.read_texts(build)),
        **dict(sorted(texts.userDefined.items())),
    }
    return Program(
        specification_version=model.specificationVersion,
        functions=MappingProxyType(functions),
        interfaces=MappingProxyType(dict(interfaces)),
        default_function=default,
        metadata=MappingProxyType({key: text for key, text in metadata.items() if text}),
    )


def _function(name: str, message: Any, reading: _Reading) -> Function:
    if message.opset not in message.block_specializations:
        raise ArtifactError(f"function {name} has no block for its opset {message.opset!r}", hint=_HINT)
    inputs = _named(message.inputs, f"an input of function {name}")
    scope = _define({}, inputs)
    block = _block(message.block_specializations[message.opset], scope, reading, depth=0)
    return Function(name=name, opset=message.opset, inputs=inputs, block=block)


def _block(message: Any, scope: MutableMapping[str, bool], reading: _Reading, *, depth: int) -> Block:
    """`scope` holds the names that are defined where the block starts; the block sees them and adds its own."""
    if depth > MAX_DEPTH:
        raise ArtifactError(f"blocks are nested more than {MAX_DEPTH} deep", hint=_HINT)
    # Only what stands before an op may be named by it, which is also what rules out cycles.
    inputs = _named(message.inputs, "a block's input")
    known = _define(ChainMap({}, scope), inputs)
    operations = []
    for operation in message.operations:
        reading.operations += 1
        if reading.operations > MAX_OPERATIONS:
            raise ArtifactError(f"the program has more than {MAX_OPERATIONS} operations", hint=_HINT)
        operations.append(_operation(operation, known, reading, depth=depth))
        _define(known, operations[-1].outputs)
    for name in message.outputs:
        if name not in known:
            raise ArtifactError(f"a block answers with {name!r}, which nothing defines", hint=_HINT)
    return Block(inputs=inputs, outputs=tuple(message.outputs), operations=tuple(operations))


def _operation(message: Any, known: MutableMapping[str, bool], reading: _Reading, *, depth: int) -> Operation:
    attributes = message.attributes
    named = attributes["name"].immediateValue.tensor.strings.values if "name" in attributes else ()
    outputs = _named(message.outputs, f"an output of {message.type}")
    name = str(named[0]) if named else (outputs[0].name if outputs else message.type)
    inputs: dict[str, tuple[Binding, ...]] = {}
    for key in sorted(message.inputs):
        bindings = message.inputs[key].arguments
        inputs[key] = tuple(_binding(b, known, reading, f"{message.type} {name!r}, input {key}") for b in bindings)
    # Before iOS18 a constexpr op keeps its operands among its attributes, as const does.
    if message.type == "const" or message.type.startswith("constexpr_"):
        for key in sorted(attributes):
            if key != "name" and key not in inputs:
                where = f"{message.type} {name!r}, attribute {key}"
                inputs[key] = (values.read_value(attributes[key], reading.blob, where),)
    blocks = tuple(_block(block, known, reading, depth=depth + 1) for block in message.blocks)
    return Operation(type=message.type, name=name, inputs=MappingProxyType(inputs), outputs=outputs, blocks=blocks)


def _binding(message: Any, known: Mapping[str, bool], reading: _Reading, where: str) -> Binding:
    kind = message.WhichOneof("binding")
    if kind == "value":
        return values.read_value(message.value, reading.blob, where)
    if kind != "name" or message.name not in known:
        raise ArtifactError(f"{where} refers to {message.name!r}, which nothing before it defines", hint=_HINT)
    return str(message.name)


def _named(messages_: Iterable[Any], where: str) -> tuple[NamedType, ...]:
    read = functools.partial(values.read_type, where=where)
    return tuple(NamedType(name=message.name, type=read(message.type)) for message in messages_)


def _define(known: MutableMapping[str, bool], added: Iterable[NamedType]) -> MutableMapping[str, bool]:
    for value in added:
        known[value.name] = True
    return known


def _names(found: Iterable[str]) -> str:
    return ", ".join(sorted(found)) or "none"


def _check_interface(function: Function, declared: Interface) -> None:
    # The description is what an app sees, the program what runs: Core ML does not load the two of different models.
    given = {feature.name for feature in declared.inputs}
    states = {feature.name for feature in declared.states}
    wanted = {value.name for value in function.inputs if not isinstance(value.type, StateType)}
    kept = {value.name for value in function.inputs if isinstance(value.type, StateType)}
    if given != wanted or states != kept:
        raise ArtifactError(
            f"function {function.name} takes {_names(wanted | kept)}, its description says {_names(given | states)}",
            hint=_HINT,
        )
    missing = {feature.name for feature in declared.outputs} - set(function.block.outputs)
    if missing:
        raise ArtifactError(f"function {function.name} does not answer with {_names(missing)}", hint=_HINT)
