"""What a description says about inputs and outputs, read from messages as coremltools defines them."""

import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import load_program
from swiftdeploy.mil.interface import read_interfaces


def description(ct, outputs):
    message = ct.proto.Model_pb2.ModelDescription()
    for name, shape in outputs:
        feature = message.output.add()
        feature.name = name
        feature.type.multiArrayType.dataType = ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        feature.type.multiArrayType.shape.extend(shape)
    return message


def test_an_output_that_is_declared_twice_in_the_same_way_counts_once(ct):
    message = description(ct, [("y", (2,)), ("z", (3,)), ("y", (2,))])
    found = read_interfaces(message, "main")["main"]
    assert [feature.name for feature in found.outputs] == ["y", "z"]


def test_one_name_for_two_outputs_is_refused(ct):
    with pytest.raises(ArtifactError, match="declares one name twice"):
        read_interfaces(description(ct, [("y", (2,)), ("y", (3,))]), "main")


def test_a_program_that_gives_one_value_twice_predicts_it(ct, save):
    x = np.array([[1.0, -2.0]], dtype=np.float32)
    found = load_program(save(lambda mb, a: (mb.relu(x=a, name="y"),) * 2, [x])).predict({"a": x})
    assert {name: value.tolist() for name, value in found.items()} == {"y": [[1.0, 0.0]]}
