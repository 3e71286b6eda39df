"""Every kernel in the registry has a case somewhere in this folder, and a contract that the binder can keep."""

import ast
from pathlib import Path

import pytest

from swiftdeploy.mil.kernels import KERNELS, lookup
from swiftdeploy.mil.kernels.registry import OPSETS, index, kernel, newest

FOLDER = Path(__file__).parent
ENTRIES = [entry for versions in KERNELS.values() for entry in versions]


def mentioned():
    """Every name that the tests read: `mb.conv`, `ops.gather_ios17`, and "exp" of `getattr(mb, "exp")`."""
    found = set()
    for path in (*FOLDER.glob("test_*.py"), *FOLDER.parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


MENTIONED = mentioned()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.op}-{OPSETS[entry.since]}")
def test_a_kernel_has_a_case(entry):
    assert entry.function.__name__ in MENTIONED or entry.op in MENTIONED


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.op}-{OPSETS[entry.since]}")
def test_a_kernel_says_what_it_computes(entry):
    assert entry.function.__doc__
    assert entry.function.__module__.startswith("swiftdeploy.mil.kernels.")


def test_the_newest_version_that_the_opset_knows_is_taken():
    assert lookup("reshape", "CoreML5") is lookup("reshape", "CoreML6")
    assert lookup("reshape", "CoreML7") is not lookup("reshape", "CoreML6")
    assert lookup("reshape", "CoreML9") is lookup("reshape", "CoreML7")
    assert lookup("slice_update", "CoreML7") is None
    assert lookup("slice_update", "CoreML8") is not None
    assert lookup("relu", "CoreML4") is None
    assert lookup("no_such_op", "CoreML9") is None


def test_an_annotation_without_a_converter_is_a_programming_error():
    def strange(x: complex) -> complex:
        """Strange."""
        return x

    with pytest.raises(TypeError, match="no value can be converted to x"):
        kernel(strange)


def test_two_kernels_for_one_op_and_opset_are_a_programming_error():
    def twice(x: int) -> int:
        """Twice."""
        return x

    with pytest.raises(TypeError, match="two kernels"):
        index([(kernel(twice), kernel(twice))])
    versions = index([(kernel(twice, since="CoreML7"), kernel(twice))])["twice"]
    assert [entry.since for entry in versions] == [0, 2]
    assert newest(versions, "CoreML6") is versions[0]
