"""What the binder resolves once and what the interpreter does for each op: slots, rounding, lifetimes, limits."""

import numpy as np
import pytest
import torch

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import binder, interpreter, load_program
from swiftdeploy.mil.kernels import constexpr_ops
from swiftdeploy.mil.program import Block, Constant, Function, NamedType, Operation, TensorType

F32 = TensorType(dtype="fp32", shape=(2,))


def named(name, kind=F32):
    return NamedType(name=name, type=kind)


def constant(value, dtype="fp32"):
    value = np.asarray(value, dtype={"fp32": np.float32, "int32": np.int32}[dtype])
    return Constant(type=TensorType(dtype=dtype, shape=value.shape), value=value)


def op(kind, output, result=F32, blocks=(), **inputs):
    bound = {key: value if isinstance(value, tuple) else (value,) for key, value in inputs.items()}
    return Operation(type=kind, name=f"{output}_op", inputs=bound, outputs=(named(output, result),), blocks=blocks)


def function(operations, outputs, inputs=("x",), opset="CoreML7"):
    block = Block(inputs=(), outputs=outputs, operations=tuple(operations))
    return Function(name="main", opset=opset, inputs=tuple(named(name) for name in inputs), block=block)


def run(fn, *values, observe=None):
    plan = binder.bind(fn)
    given = {value.name: torch.tensor(v, dtype=torch.float32) for value, v in zip(fn.inputs, values, strict=True)}
    return {name: value.tolist() for name, value in interpreter.run(plan, given, observe).items()}


def test_constants_stand_in_place_or_in_const_ops():
    fn = function(
        [
            op("const", "two", TensorType(dtype="fp32"), val=constant(2.0)),
            op("mul", "y", x="x", y="two"),
            op("add", "z", x="y", y=constant([1.0, -1.0])),
        ],
        ("z", "y", "two"),
    )
    assert run(fn, [3.0, 4.0]) == {"z": [7.0, 7.0], "y": [6.0, 8.0], "two": 2.0}


def test_a_weight_is_converted_once_and_shared():
    weight = constant(np.ones((2, 2)))
    ops = [op("const", "w", TensorType(dtype="fp32", shape=(2, 2)), val=weight)]
    ops += [op("linear", f"y{i}", x="x", weight="w") for i in range(3)]
    plan = binder.bind(function(ops, ("y2",)))
    tensors = [call.constants["weight"] for call in plan.body.calls]
    assert all(tensor is tensors[0] for tensor in tensors)
    assert tensors[0].data_ptr() == weight.value.ctypes.data, "float32 weights are not copied at all"


def test_values_are_freed_after_their_last_use():
    fn = function(
        [
            op("relu", "a", x="x"),
            op("relu", "b", x="a"),
            op("add", "c", x="a", y="b"),
            op("relu", "d", x="c"),
            op("relu", "unused", x="x"),
        ],
        ("c",),
    )
    plan = binder.bind(fn)
    freed = {call.results[0].name: call.free for call in plan.body.calls}
    slots = {call.results[0].name: call.results[0].slot for call in plan.body.calls}
    assert freed["a"] == ()
    assert set(freed["c"]) == {slots["a"], slots["b"]}
    assert freed["d"] == (slots["d"],)
    assert freed["unused"] == (slots["unused"],)
    assert run(fn, [1.0, -1.0]) == {"c": [2.0, 0.0]}


def test_an_input_of_a_function_is_freed_too():
    fn = function([op("relu", "a", x="x"), op("relu", "b", x="a")], ("b",))
    plan = binder.bind(fn)
    assert plan.body.calls[0].free == () or plan.inputs["x"] in plan.body.calls[0].free


def block(inputs, outputs, operations):
    return Block(inputs=tuple(named(name) for name in inputs), outputs=outputs, operations=tuple(operations))


def test_a_block_sees_what_is_around_it_and_keeps_it_alive():
    first = block((), ("p",), [op("add", "p", x="a", y="x")])
    second = block((), ("a",), [])
    scalar = TensorType(dtype="bool")
    fn = function(
        [
            op("relu", "a", x="x"),
            op("reduce_sum", "s", TensorType(dtype="fp32"), x="x"),
            op("greater", "t", scalar, x="s", y=constant(0.0)),
            op("cond", "y", pred="t", blocks=(first, second)),
            op("relu", "z", x="y"),
        ],
        ("z",),
    )
    assert run(fn, [1.0, 2.0]) == {"z": [2.0, 4.0]}
    assert run(fn, [-5.0, 2.0]) == {"z": [0.0, 2.0]}


def test_a_name_inside_a_block_hides_the_one_outside():
    inner = block((), ("a",), [op("mul", "a", x="x", y=constant(10.0))])
    fn = function(
        [
            op("relu", "a", x="x"),
            op(
                "const",
                "yes",
                TensorType(dtype="bool"),
                val=Constant(type=TensorType(dtype="bool"), value=np.array(True)),
            ),
            op("cond", "y", pred="yes", blocks=(inner, inner)),
            op("add", "z", x="a", y="y"),
        ],
        ("z",),
    )
    assert run(fn, [1.0, -1.0]) == {"z": [11.0, -10.0]}


SCALAR_TRUTH = TensorType(dtype="bool")


def truth(*, value):
    return Constant(type=SCALAR_TRUTH, value=np.array(value))


def loop(limit):
    """x + 1 for as long as the greater of its two numbers is below `limit`."""
    test = block(
        ("v",),
        ("go",),
        [
            op("reduce_max", "greatest", TensorType(dtype="fp32"), x="v"),
            op("less", "go", SCALAR_TRUTH, x="greatest", y=constant(limit)),
        ],
    )
    body = block(("w",), ("next",), [op("add", "next", x="w", y=constant(1.0))])
    return function([op("while_loop", "y", loop_vars=("x",), blocks=(test, body))], ("y",))


def test_a_loop_runs_until_its_condition_fails():
    assert run(loop(4.0), [0.5, 0.0]) == {"y": [4.5, 4.0]}
    assert run(loop(0.0), [0.5, 0.0]) == {"y": [0.5, 0.0]}


def test_a_loop_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(interpreter, "MAX_BLOCK_RUNS", 100)
    with pytest.raises(ArtifactError, match="nested blocks ran more than 100 times"):
        run(loop(float("inf")), [0.0, 0.0])


def test_a_block_with_another_number_of_inputs_is_an_error():
    test = block((), ("t",), [op("const", "t", SCALAR_TRUTH, val=truth(value=True))])
    fn = function([op("while_loop", "y", loop_vars=("x",), blocks=(test, test))], ("y",))
    with pytest.raises(ArtifactError, match="a block of 0 inputs is given 1"):
        run(fn, [0.0, 0.0])


@pytest.mark.parametrize(
    ("operations", "fact"),
    [
        (
            [op("relu", "y", TensorType(dtype="fp32", shape=(3,)), x="x")],
            r"gives the shape \(2,\), the program says \(3,\)",
        ),
        ([op("split", "y", x="x", axis=constant(0, "int32"), num_splits=constant(2, "int32"))], "gives 2 values"),
        ([op("matmul", "y", x="x", y=constant(np.ones(3)))], "matmul 'y_op' cannot run"),
        ([op("reshape", "y", x="x", shape=constant([5, 5], "int32"))], "reshape 'y_op' cannot run"),
        ([op("cond", "y", pred=constant([1.0, 2.0]))], "input pred does not fit: expected one number"),
    ],
)
def test_a_program_that_contradicts_itself_as_it_runs_is_an_artifact_error(operations, fact):
    with pytest.raises(ArtifactError, match=fact):
        run(function(operations, ("y",)), [1.0, 2.0])


def test_half_precision_is_rounded_once_an_op_and_not_where_values_only_move():
    half = TensorType(dtype="fp16", shape=(2,))
    fn = function([op("mul", "y", half, x="x", y=constant(1.0)), op("relu", "z", half, x="y")], ("z",))
    assert [call.results[0].rounded for call in binder.bind(fn).body.calls] == [torch.float16, None]
    assert run(fn, [1 + 2**-12, 1e6]) == {"z": [1.0, float("inf")]}
    single = function([op("mul", "y", x="x", y=constant(1.0))], ("y",))
    assert binder.bind(single).body.calls[0].results[0].rounded is None


def test_compressed_weights_are_expanded_once_at_load(save, monkeypatch):
    def graph(mb, a):
        weight = mb.constexpr_affine_dequantize(
            quantized_data=np.arange(6, dtype=np.int8).reshape(2, 3),
            zero_point=np.int8(1),
            scale=np.float32(0.5),
            axis=0,
        )
        return mb.linear(x=a, weight=weight)

    loaded = load_program(save(graph, [np.ones((1, 3), np.float32)], ios=16))
    assert all(not call.op.startswith("constexpr_") for call in loaded.plan.body.calls)
    monkeypatch.setattr(constexpr_ops, "constexpr_affine_dequantize", None)
    weight = (np.arange(6).reshape(2, 3) - 1) * 0.5
    assert loaded.predict({"a": [[1, 2, 3]]})[loaded.outputs[0].name].tolist() == [(weight @ [1, 2, 3]).tolist()]


def test_integers_travel_wide_and_come_back_in_their_dtype():
    assert binder.carry(np.array([1, -1], np.int8)).dtype == torch.int32
    assert binder.carry(np.array([2**40], np.int64)).tolist() == [2**40]
    assert binder.carry(np.array([2**32 - 1], np.uint32)).tolist() == [2**32 - 1]
    assert binder.carry(np.array([True])).dtype == torch.bool
    assert binder.carry(np.float16(0.1).reshape(())).item() == np.float16(0.1)
    assert binder.carry("text") == "text"


def test_observers_see_each_op_in_order():
    seen = []
    fn = function([op("relu", "a", x="x"), op("square", "b", x="a")], ("b",))
    run(
        fn,
        [1.0, -2.0],
        observe=lambda name, kind, outputs: seen.append((name, kind, {k: v.tolist() for k, v in outputs.items()})),
    )
    assert seen == [("a_op", "relu", {"a": [1.0, 0.0]}), ("b_op", "square", {"b": [1.0, 0.0]})]
