"""Real packages with one thing changed: what the reader makes of them, and what it refuses to make."""

import shutil

import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import load_program, messages, reader, values
from swiftdeploy.mil.program import Constant, TensorType
from swiftdeploy.mil.reader import read_program

WEIGHT = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
IMAGE = np.ones((1, 3, 8, 8), np.float32)


def graph(mb, a):
    x = mb.conv(x=a, weight=WEIGHT, name="folded")
    return mb.concat(values=(mb.relu(x=x), mb.softmax(x=x, axis=1)), axis=1)


@pytest.fixture(scope="module")
def originals():
    return {}


@pytest.fixture
def damage(save, originals, tmp_path):
    """damage(change) -> path of a package whose specification `change` has edited in place."""

    def damage(change, *, graph=graph, arrays=(IMAGE,), ios=16):
        if (graph, ios) not in originals:
            originals[graph, ios] = save(graph, arrays, ios=ios)
        path = shutil.copytree(originals[graph, ios], tmp_path / "damaged.mlpackage")
        model = path / "Data" / "com.apple.CoreML" / "model.mlmodel"
        specification = messages.load("Model_pb2").Model.FromString(model.read_bytes())
        change(specification)
        model.write_bytes(specification.SerializeToString())
        return path

    return damage


def operations(specification):
    function = specification.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def operation(specification, kind):
    return next(op for op in operations(specification) if op.type == kind)


def constant(specification, dtype):
    """The first constant of a dtype, by its code in MIL.proto."""
    return next(
        op.attributes["val"]
        for op in operations(specification)
        if op.type == "const" and op.attributes["val"].type.tensorType.dataType == dtype
    )


def refused(path, fact):
    with pytest.raises(ArtifactError, match=fact) as raised:
        load_program(path)
    assert raised.value.exit_code == 7
    assert raised.value.hint


def test_what_a_package_says(save):
    program = read_program(save(graph, [IMAGE], ios=16))
    assert program.specification_version == 7
    assert program.default_function == "main"
    assert program.metadata["com.github.apple.coremltools.version"]
    function = program.functions["main"]
    assert function.opset == "CoreML6"
    assert function.inputs[0].type == TensorType(dtype="fp32", shape=(1, 3, 8, 8))
    conv = next(op for op in function.block.operations if op.name == "folded")
    assert conv.outputs[0].type == TensorType(dtype="fp32", shape=(1, 4, 6, 6))
    weight = next(op for op in function.block.operations if op.outputs[0].name == conv.inputs["weight"][0])
    held = weight.inputs["val"][0]
    assert isinstance(held, Constant)
    assert np.array_equal(held.value, WEIGHT)
    concat = function.block.operations[-1]
    assert [len(concat.inputs[key]) for key in ("values", "axis")] == [2, 1]


def test_immediate_values_of_every_dtype(save):
    def immediate(mb, a):
        whole = [
            mb.cast(x=mb.const(val=np.array([1, 2], d)), dtype="fp32") for d in (np.int8, np.uint8, np.int16, np.uint16)
        ]
        half = mb.cast(x=mb.const(val=np.array([0.1, -2], np.float16)), dtype="fp32")
        truth = mb.cast(x=mb.const(val=np.array([True, False])), dtype="fp32")
        rest = (
            half,
            truth,
            mb.cast(x=mb.const(val=np.int32([-7, 8])), dtype="fp32"),
            mb.const(val=np.float32([0.5, 1])),
        )
        return mb.stack(values=(*whole, *rest, a), axis=0)

    loaded = load_program(save(immediate, [np.zeros(2, np.float32)], ios=17))
    found = loaded.predict({"a": [9, 9]})[loaded.outputs[0].name]
    wanted = [[1, 2]] * 4 + [[np.float16(0.1), -2], [1, 0], [-7, 8], [0.5, 1], [9, 9]]
    assert np.array_equal(found, np.array(wanted, np.float32))


@pytest.mark.parametrize("kind", ["neuralNetwork", "pipeline", "glmRegressor"])
def test_another_kind_of_model_is_named(damage, kind):
    refused(damage(lambda spec: getattr(spec, kind).SetInParent()), f"a model of type {kind}, not an ML Program")


def test_a_newer_specification_is_refused(damage):
    refused(damage(lambda spec: setattr(spec, "specificationVersion", 11)), "version 11, this reader knows up to 10")


def test_all_unknown_ops_are_listed_with_the_opset(damage):
    def change(spec):
        operation(spec, "relu").type = "hyper_relu"
        operation(spec, "softmax").type = "warp"

    refused(damage(change), "2 ops of function main are not known in CoreML6: hyper_relu, warp")


def test_an_op_of_a_later_opset_is_unknown(damage):
    def change(spec):
        operation(spec, "relu").type = "slice_update"

    refused(damage(change), "not known in CoreML6: slice_update")


def test_an_opset_that_nobody_knows_knows_no_op(damage):
    def change(spec):
        function = spec.mlProgram.functions["main"]
        function.block_specializations["CoreML99"].CopyFrom(function.block_specializations[function.opset])
        function.opset = "CoreML99"

    refused(damage(change), "not known in CoreML99: concat, conv, relu, softmax")


def retype(code):
    def change(spec):
        operation(spec, "conv").outputs[0].type.tensorType.dataType = code

    return change


def drop(kind, key):
    def change(spec):
        del operation(spec, kind).inputs[key]

    return change


def surplus(spec):
    op = operation(spec, "relu")
    op.inputs["alpha"].CopyFrom(op.inputs["x"])


def twice(spec):
    op = operation(spec, "relu")
    op.inputs["x"].arguments.append(op.inputs["x"].arguments[0])


def cycle(spec):
    operation(spec, "conv").inputs["x"].arguments[0].name = operation(spec, "relu").outputs[0].name


def own_output(spec):
    operation(spec, "relu").inputs["x"].arguments[0].name = operation(spec, "relu").outputs[0].name


def undefined(spec):
    operation(spec, "relu").inputs["x"].arguments[0].name = "nobody"


def unbound(spec):
    operation(spec, "relu").inputs["x"].arguments[0].ClearField("name")


def lost_output(spec):
    function = spec.mlProgram.functions["main"]
    function.block_specializations[function.opset].outputs[0] = "nobody"


def swapped_order(spec):
    listed = operations(spec)
    index = next(i for i, op in enumerate(listed) if op.type == "conv")
    moved = messages.load("MIL_pb2").Operation.FromString(listed[index].SerializeToString())
    del listed[index]
    listed.append(moved)


def no_block(spec):
    spec.mlProgram.functions["main"].opset = "CoreML7"


def renamed_function(spec):
    spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])
    del spec.mlProgram.functions["main"]
    spec.description.functions.add().name = "main"


def renamed_input(spec):
    spec.description.input[0].name = "b"


def renamed_output(spec):
    spec.description.output[0].name = "b"


def doubled_input(spec):
    spec.description.input.append(spec.description.input[0])


def untyped_input(spec):
    spec.description.input[0].ClearField("type")


def integer_strides(spec):
    op = operation(spec, "conv")
    op.inputs["pad_type"].CopyFrom(op.inputs["strides"])


def text_axis(spec):
    operation(spec, "softmax").inputs["axis"].CopyFrom(operation(spec, "conv").inputs["pad_type"])


def empty_const(spec):
    op = operation(spec, "const")
    del op.attributes["val"]


def disagreeing_rank(spec):
    operation(spec, "conv").outputs[0].type.tensorType.rank = 3


def variable_rank_among_others(spec):
    operation(spec, "conv").outputs[0].type.tensorType.dimensions[1].unknown.variadic = True


def absurd_size(spec):
    operation(spec, "conv").outputs[0].type.tensorType.dimensions[1].constant.size = 1 << 40


def absurd_volume(spec):
    for dimension in operation(spec, "conv").outputs[0].type.tensorType.dimensions:
        dimension.constant.size = 1 << 20


def tuple_type(spec):
    operation(spec, "conv").outputs[0].type.tupleType.SetInParent()


def no_type(spec):
    operation(spec, "conv").outputs[0].ClearField("type")


STRUCTURE = {
    "an op without an input that it needs": (drop("conv", "weight"), "conv 'folded', input weight is missing"),
    "an op with an input that it does not have": (surplus, "takes no input alpha"),
    "two values for one input": (twice, "takes one value and is given 2"),
    "a cycle": (cycle, "which nothing before it defines"),
    "an op that eats itself": (own_output, "which nothing before it defines"),
    "a reference to nothing": (undefined, "refers to 'nobody'"),
    "a binding without a name": (unbound, "refers to ''"),
    "an output that nothing defines": (lost_output, "answers with 'nobody'"),
    "ops in the wrong order": (swapped_order, "which nothing before it defines"),
    "no block for the opset": (no_block, "no block for its opset 'CoreML7'"),
    "a description of other functions": (renamed_function, "names the functions main, the program has other"),
    "a description of other inputs": (renamed_input, "takes a, its description says b"),
    "a description of other outputs": (renamed_output, "does not answer with b"),
    "one name twice": (doubled_input, "declares one name twice"),
    "a feature without a type": (untyped_input, "has no type"),
    "numbers for a text": (integer_strides, "input pad_type does not fit: expected a string"),
    "a text for a number": (text_axis, "input axis does not fit"),
    "a const without a value": (empty_const, "holds no value"),
    "a rank that does not fit": (disagreeing_rank, "says rank 3 for 4 dimensions"),
    "a variable rank among sizes": (variable_rank_among_others, "variable number of axes"),
    "an absurd size": (absurd_size, "has a dimension of"),
    "an absurd volume": (absurd_volume, "is larger than"),
    "an unknown dtype": (retype(99), "unknown dtype 99"),
    "a tuple": (tuple_type, "of a type that ML Programs do not hold: tupleType"),
    "no type": (no_type, "of a type that ML Programs do not hold: none"),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_program_that_contradicts_itself_is_refused(damage, name):
    change, fact = STRUCTURE[name]
    refused(damage(change), fact)


def weight_of(change):
    return lambda spec: change(constant(spec, 11))


def ints_of(change):
    return lambda spec: change(constant(spec, 23))


def narrow(value):
    value.type.tensorType.dataType = 21
    value.immediateValue.tensor.ints.values[0] = 300


def set_offset(offset):
    return weight_of(lambda value: setattr(value.blobFileValue, "offset", offset))


CONSTANTS = {
    "an offset between blobs": (set_offset(65), "not aligned"),
    "an offset past the end": (set_offset(1 << 40), "not aligned to 64 bytes inside the file"),
    "a path out of the package": (
        weight_of(lambda v: setattr(v.blobFileValue, "fileName", "@model_path/../../../../../../etc/passwd")),
        "leads out of the package",
    ),
    "an absolute path": (weight_of(lambda v: setattr(v.blobFileValue, "fileName", "/etc/passwd")), "no path inside"),
    "a file that is not there": (
        weight_of(lambda v: setattr(v.blobFileValue, "fileName", "@model_path/weights/other.bin")),
        "other.bin is missing",
    ),
    "another shape than the blob's": (
        weight_of(lambda v: setattr(v.type.tensorType.dimensions[0].constant, "size", 5)),
        "bytes, fp32 of shape",
    ),
    "another dtype than the blob's": (weight_of(lambda v: setattr(v.type.tensorType, "dataType", 10)), "holds fp32"),
    "a shape that is not constant": (
        weight_of(lambda v: v.type.tensorType.dimensions[0].unknown.SetInParent()),
        "constant of a shape that is not constant",
    ),
    "a value that is missing": (weight_of(lambda v: v.ClearField("blobFileValue")), "no value that fits its type"),
    "too few numbers": (ints_of(lambda v: v.immediateValue.tensor.ints.values.pop()), "takes another number"),
    "a text instead of numbers": (
        ints_of(lambda v: v.immediateValue.tensor.strings.values.extend(["1"] * 2)), "is declared as int32 and holds"
    ),
    "floats instead of integers": (
        ints_of(lambda v: v.immediateValue.tensor.floats.values.extend([1.0] * 4)), "takes another number|holds floats"
    ),
    "a list instead of a tensor": (ints_of(lambda v: v.immediateValue.list.SetInParent()), "holds list"),
    "a number too large for the dtype": (ints_of(narrow), "a number that int8 cannot"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_that_does_not_fit_is_refused(damage, name):
    change, fact = CONSTANTS[name]
    refused(damage(change), fact)


def test_an_input_of_texts_is_refused(damage):
    def change(spec):
        spec.mlProgram.functions["main"].inputs[0].type.tensorType.dataType = 2

    with pytest.raises(ArtifactError, match="input 'a' is of a type that no input has"):
        load_program(damage(change)).predict({"a": IMAGE})


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 0.5, 0.99])
def test_a_truncated_specification_is_refused(save, keep):
    model = save(graph, [IMAGE]) / "Data" / "com.apple.CoreML" / "model.mlmodel"
    data = model.read_bytes()
    model.write_bytes(data[: int(keep if keep in (0, 1, 10, 100) else keep * len(data))])
    with pytest.raises(ArtifactError):
        load_program(model.parents[2])


def test_a_missing_weight_file_is_named(save):
    path = save(graph, [IMAGE])
    shutil.rmtree(path / "Data" / "com.apple.CoreML" / "weights")
    refused(path, r"weight\.bin is missing")


def test_too_many_operations_are_refused(save, monkeypatch):
    monkeypatch.setattr(reader, "MAX_OPERATIONS", 3)
    refused(save(graph, [IMAGE]), "more than 3 operations")


def test_a_million_empty_operations_are_refused_before_they_cost_much(damage):
    def change(spec):
        operations(spec).MergeFrom([messages.load("MIL_pb2").Operation()] * 1_000_000)

    with pytest.raises(ArtifactError, match=r"not known in|more than 200000 operations"):
        load_program(damage(change))


def nested(mb, a):
    inner = lambda: mb.cond(  # noqa: E731
        pred=mb.greater(x=mb.reduce_sum(x=a), y=0.0), _true_fn=lambda: mb.relu(x=a), _false_fn=lambda: mb.identity(x=a)
    )
    return mb.cond(pred=mb.greater(x=mb.reduce_max(x=a), y=0.0), _true_fn=inner, _false_fn=lambda: mb.identity(x=a))


def test_blocks_nested_too_deep_are_refused(save, monkeypatch):
    path = save(nested, [IMAGE])
    load_program(path)
    monkeypatch.setattr(reader, "MAX_DEPTH", 1)
    refused(path, "nested more than 1 deep")


def test_a_value_of_an_inner_block_is_not_seen_outside(damage):
    def change(spec):
        inner = operation(spec, "cond").blocks[1]
        operations(spec).append(operation(spec, "cond"))
        last = operations(spec)[-1]
        last.Clear()
        last.type = "relu"
        last.inputs["x"].arguments.add().name = inner.outputs[0]

    refused(damage(change, graph=nested), "which nothing before it defines")


def test_texts_that_are_no_texts_are_left_out():
    value = messages.load("MIL_pb2").Value()
    pair = value.immediateValue.dictionary.values.add()
    pair.key.immediateValue.tensor.strings.values.append("key")
    assert values.read_texts(value) == {}
    pair.value.immediateValue.tensor.strings.values.append("text")
    assert values.read_texts(value) == {"key": "text"}
