"""Model descriptions written by hand, as protobuf: what an app sees of a function."""

import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import messages
from swiftdeploy.mil.interface import read_interfaces
from swiftdeploy.mil.program import Feature

FLOAT32, FLOAT16, INT32, INT8, DOUBLE = 65568, 65552, 131104, 131080, 65600


@pytest.fixture
def description():
    return messages.load("Model_pb2").ModelDescription()


def array(description, name="x", shape=(2, 3), dtype=FLOAT32):
    feature = description.input.add(name=name)
    feature.type.multiArrayType.shape.extend(shape)
    feature.type.multiArrayType.dataType = dtype
    return feature.type.multiArrayType


def read(description):
    return read_interfaces(description, "main")["main"]


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(FLOAT32, "float32"), (FLOAT16, "float16"), (INT32, "int32"), (INT8, "int8"), (DOUBLE, "float64")],
)
def test_arrays(description, code, dtype):
    array(description, dtype=code)
    assert read(description).inputs == (Feature(name="x", kind="array", shape=(2, 3), dtype=dtype),)


def test_flexible_arrays(description):
    ranged = array(description, "ranged")
    ranged.shapeRange.sizeRanges.add(lowerBound=1, upperBound=8)
    ranged.shapeRange.sizeRanges.add(lowerBound=3, upperBound=-1)
    listed = array(description, "listed")
    for shape in ((2, 3), (4, 3)):
        listed.enumeratedShapes.shapes.add().shape.extend(shape)
    first, second = read(description).inputs
    assert first.ranges == ((1, 8), (3, -1))
    assert second.shapes == ((2, 3), (4, 3))


@pytest.mark.parametrize("field", ["intDefaultValue", "floatDefaultValue", "doubleDefaultValue"])
def test_optional_arrays(description, field):
    setattr(array(description), field, 4)
    description.input[0].type.isOptional = True
    (feature,) = read(description).inputs
    assert (feature.optional, feature.default) == (True, 4.0)


@pytest.mark.parametrize(("code", "color"), [(10, "GRAYSCALE"), (20, "RGB"), (30, "BGR"), (40, "GRAYSCALE_FLOAT16")])
def test_images(description, code, color):
    image = description.input.add(name="x").type.imageType
    image.width, image.height, image.colorSpace = 640, 480, code
    assert read(description).inputs == (Feature(name="x", kind="image", color=color, width=640, height=480),)


def test_flexible_images_count_height_first(description):
    ranged = description.input.add(name="ranged").type.imageType
    ranged.colorSpace = 20
    ranged.imageSizeRange.widthRange.lowerBound, ranged.imageSizeRange.widthRange.upperBound = 10, 20
    ranged.imageSizeRange.heightRange.lowerBound, ranged.imageSizeRange.heightRange.upperBound = 30, -1
    listed = description.input.add(name="listed").type.imageType
    listed.colorSpace = 20
    listed.enumeratedSizes.sizes.add(width=10, height=20)
    first, second = read(description).inputs
    assert first.ranges == ((30, -1), (10, 20))
    assert second.shapes == ((20, 10),)


def test_outputs_and_states(description):
    description.output.add(name="label").type.stringType.SetInParent()
    description.output.add(name="number").type.int64Type.SetInParent()
    description.output.add(name="score").type.doubleType.SetInParent()
    description.output.add(name="probabilities").type.dictionaryType.stringKeyType.SetInParent()
    description.output.add(name="words").type.sequenceType.stringType.SetInParent()
    state = description.state.add(name="memory").type.stateType.arrayType
    state.shape.extend((1, 4))
    state.dataType = FLOAT16
    description.predictedFeatureName, description.predictedProbabilitiesName = "label", "probabilities"
    found = read(description)
    assert [feature.kind for feature in found.outputs] == ["string", "int64", "double", "dictionary", "sequence"]
    assert found.states == (Feature(name="memory", kind="state", shape=(1, 4), dtype="float16"),)
    assert (found.label, found.probabilities) == ("label", "probabilities")


def test_functions_have_interfaces_of_their_own(description):
    for name in ("first", "second"):
        array(description.functions.add(name=name), name=f"x_{name}")
    found = read_interfaces(description, "first")
    assert {name: interface.inputs[0].name for name, interface in found.items()} == {
        "first": "x_first",
        "second": "x_second",
    }
    description.functions.add(name="first")
    with pytest.raises(ArtifactError, match="two functions of the description have one name"):
        read_interfaces(description, "first")


def test_what_is_not_known_is_refused(description):
    array(description, dtype=7)
    with pytest.raises(ArtifactError, match="unknown dtype 7"):
        read(description)
    del description.input[:]
    description.input.add(name="x").type.imageType.colorSpace = 99
    with pytest.raises(ArtifactError, match="unknown color space 99"):
        read(description)
