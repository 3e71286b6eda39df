"""The protobuf messages are coremltools' own, loaded without coremltools."""

import subprocess
import sys

import pytest

from swiftdeploy.errors import DependencyError
from swiftdeploy.mil import messages


def test_loading_the_messages_leaves_coremltools_out():
    code = (
        "import sys; from swiftdeploy.mil import messages; messages.load('Model_pb2').Model();"
        "assert 'coremltools' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_runtime_loads_nothing_heavy():
    code = "import sys, swiftdeploy.mil; assert not {'torch', 'numpy', 'coremltools', 'google'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_messages_are_those_of_coremltools(ct):
    from coremltools.proto import Model_pb2

    assert messages.load("Model_pb2").Model is Model_pb2.Model


def test_a_machine_without_coremltools_is_told_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "swiftdeploy_coreml_messages", raising=False)
    monkeypatch.setattr(messages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="coremltools is not installed"):
        messages.load("Model_pb2")
