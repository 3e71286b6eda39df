"""8-bit weights and activations: a quantised program, converted, and held to the fake-quantised module.

8-bit rounding is a staircase, and next to an edge the smallest difference becomes a whole step: no two implementations
agree to 50 dB. The gate is therefore what the fake-quantised module itself loses when each of its layers is off by
fp16's rounding step, at most the fp16 gate, and never so little that a wrong graph would pass.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from swiftdeploy import compress
from swiftdeploy.capture import freeze
from swiftdeploy.compress.activations import conditioning_db, original_name
from swiftdeploy.parity import compare
from swiftdeploy.parity.samples import Sample, to_input
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.compressed import Base, Variant
from swiftdeploy.pipeline.program import INPUT_NAME, Built, Classifier
from swiftdeploy.recipe import Recipe, Scheme
from swiftdeploy.report import CalibrationRecord
from swiftdeploy.spec import InputKind, Preprocessing

Arrays = Mapping[str, NDArray[Any]]
RECIPE = Recipe(name="w8a8", default="int8", smallest=0)
PASS_SLACK_DB, FAIL_SLACK_DB = 3.0, 6.0  # twice the squared error of the disturbed module, and twice its error
LEAST_DB = 20.0  # below it a layer that is left out would pass


def calibration_inputs(samples: Sequence[Sample], preprocessing: Preprocessing, kind: InputKind) -> torch.Tensor:
    """The calibration images as the graph takes them, (N, C, H, W)."""
    return torch.from_numpy(to_input([sample.image for sample in samples], preprocessing, kind))


def calibration_record(samples: Sequence[Sample]) -> CalibrationRecord:
    """What the ranges were measured on."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(np.ascontiguousarray(sample.image).tobytes())
    return CalibrationRecord(images=len(samples), sha256=digest.hexdigest())


def activations_variant(
    base: Base,
    truth: parity.Reference,
    calibration: torch.Tensor,
    convert: Callable[[Built], Path],
    *,
    labelled: bool,
) -> Variant:
    """Quantise the graph of `truth` and convert it with `convert`. `base` is its fp16 package.

    Raises UsageError for a module that was not captured, ConversionError with a library's reason.
    """
    built, example = truth.built, truth.built.program.example
    found = compress.quantize_activations(built.module, calibration, example)
    classifier = freeze(Classifier(found.final).eval(), example, input_name=INPUT_NAME) if labelled else None
    program = freeze(found.final, example, input_name=INPUT_NAME)
    path = convert(dataclasses.replace(built, program=program, classifier=classifier))
    simulated = dataclasses.replace(built, module=found.simulated)
    answered = dataclasses.replace(truth, outputs=parity.graph_answers(simulated, truth.inputs), built=simulated)
    images = torch.from_numpy(truth.inputs)
    limits = limits_of(conditioning_db(found.simulated, images, batch=example.shape[0]))
    return opened_quantized(path, base, answered, limits)


def opened_quantized(path: Path, base: Base, truth: parity.Reference, limits: compare.Gate) -> Variant:
    """The quantised package at `path`, its tensors under the names that the fp16 package has them by."""
    weights, constants = base.weights, base.constants
    dense = {original_name(name): value for name, value in compress.dense_weights(path).items()}
    named = {compress.stem(constant): constant for constant in compress.stored_sizes(path)}
    stored = {original_name(name): constant for name, constant in named.items()}
    scheme = Scheme(name="int8", form="linear", bits=8)
    plan = compress.Plan(
        recipe=RECIPE,
        schemes={w.name: scheme for w in weights if w.name in stored},
        reasons={w.name: "no layer that the quantizer knows uses it" for w in weights if w.name not in stored},
    )
    # Converted anew, equal constants may have been merged under another name; scales of activations are strangers.
    by_value = {value.tobytes(): value for value in dense.values()}
    found = {name: dense.get(name, by_value.get(value.tobytes())) for name, value in constants.items()}
    return Variant(
        path=path,
        truth=truth,
        weights=tuple(dataclasses.replace(w, constant=stored.get(w.name, w.constant)) for w in weights),
        plan=plan,
        before=constants,
        dense={name: value for name, value in found.items() if value is not None},
        limits=limits,
    )


def limits_of(conditioning: float) -> compare.Gate:
    """The gate of a module that comes to within `conditioning` dB of itself."""
    fp16 = compare.GATES["fp16"]
    return compare.Gate(
        passes=round(max(min(fp16.passes, conditioning - PASS_SLACK_DB), LEAST_DB), 1),
        fails=round(max(min(fp16.fails, conditioning - FAIL_SLACK_DB), LEAST_DB), 1),
    )
