"""The op coverage page is current and complete: every op, version and input of coremltools' registry has a kernel."""

import importlib.util
import json
from pathlib import Path

import pytest

from swiftdeploy.mil import kernels
from swiftdeploy.mil.kernels.registry import OPSETS

GENERATOR = Path(__file__).parents[2] / "benchmarks" / "op_coverage.py"
BLOCKS = {"_true_fn", "_false_fn", "_cond", "_body", "_existing_blocks"}  # written into a package as nested blocks


@pytest.fixture(scope="module")
def coverage(ct):
    spec = importlib.util.spec_from_file_location("op_coverage", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(coverage):
    result = json.loads(coverage.RESULT.read_text())
    assert coverage.PAGE.read_text() == coverage.render(result), "run: python benchmarks/op_coverage.py"


def test_a_new_result_changes_the_page(coverage):
    result = json.loads(coverage.RESULT.read_text())
    changed = {**result, "ops": {**result["ops"], "relu": {"agreed": 1, "listed": 2, "all": 12345}}}
    assert "1 + 2 of 12345" in coverage.render(changed)
    assert coverage.render(changed) != coverage.render(result)


def test_every_op_has_a_kernel_in_every_opset_that_knows_it(coverage):
    missing = [
        (op, target)
        for op, targets in coverage.op_versions().items()
        for target in targets
        if op not in coverage.NO_KERNEL and kernels.lookup(op, coverage.TARGETS[target]) is None
    ]
    assert not missing


def test_every_kernel_takes_the_inputs_of_its_op(coverage):
    """Names as the registry has them, for each version; and nothing required that an op may leave out."""
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    wrong = []
    for op, classes in SSAOpRegistry.core_ops.items():
        for target, definition in classes.items():
            opset = coverage.TARGETS.get(target.name)
            entry = kernels.lookup(op, opset) if opset else None
            if entry is None:
                continue
            inputs = definition.input_spec.input_types
            unknown = set(inputs) - set(entry.parameters) - BLOCKS
            needed = {name for name, parameter in entry.parameters.items() if parameter.required}
            optional = {name for name, kind in inputs.items() if kind.optional}
            if unknown or needed - set(inputs) or needed & optional:
                wrong.append((op, target.name, sorted(unknown), sorted((needed - set(inputs)) | (needed & optional))))
    assert not wrong


def test_the_opsets_are_the_registrys(coverage):
    assert tuple(coverage.TARGETS.values()) == OPSETS
