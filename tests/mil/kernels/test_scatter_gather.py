"""Oracles: numpy by the written definition, element by element, and ONNX Runtime's GatherND."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from swiftdeploy.mil.kernels import scatter_gather as ops

COMBINE = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
}
MODES = sorted(COMBINE)


def values(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def integers(low, high, shape, seed=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_gather_equals_take(axis, shape):
    x, indices = values(4, 4, 4), integers(-4, 4, shape)
    assert np.array_equal(ops.gather(x, indices, axis), np.take(x.numpy(), indices.numpy(), axis))


def test_gather_with_batch_dims_pairs_the_batches():
    x, indices = values(2, 3, 5, 4), integers(0, 5, (2, 3, 2))
    found = ops.gather(x, indices, axis=2, batch_dims=2)
    for i, j in itertools.product(range(2), range(3)):
        assert np.array_equal(found[i, j], np.take(x[i, j].numpy(), indices[i, j].numpy(), 0))
    middle = ops.gather(x, integers(0, 5, (2, 7)), axis=2, batch_dims=1)
    assert middle.shape == (2, 3, 7, 4)


def test_gather_before_ios17_refuses_what_lies_outside():
    for index in (-5, 4):
        with pytest.raises(IndexError, match="size 4"):
            ops.gather(values(4), torch.tensor([index]))


@pytest.mark.parametrize(
    ("function", "indices"),
    [
        (ops.gather_ios17, torch.tensor([-1, 4])),
        (ops.gather_along_axis_ios17, torch.tensor([-1, 4])),
        (ops.gather_nd_ios17, torch.tensor([[-1], [4]])),
    ],
)
def test_reads_since_ios17_are_safe_outside_and_refuse_when_told(function, indices):
    x = values(4)
    assert torch.equal(function(x, indices), x[[0, 3]])
    with pytest.raises(IndexError, match="validate_indices"):
        function(x, indices, validate_indices=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_axis_equals_take_along_axis(axis):
    x, indices = values(3, 3, 3), integers(-3, 3, (3, 3, 3))
    assert np.array_equal(
        ops.gather_along_axis(x, indices, axis), np.take_along_axis(x.numpy(), indices.numpy().astype(np.int64), axis)
    )


@pytest.mark.parametrize(
    ("batch_dims", "shape"), [(0, (5, 2)), (0, (2, 3, 1)), (0, (4, 3)), (1, (2, 6, 2)), (2, (2, 3, 1))]
)
def test_gather_nd_equals_onnx(batch_dims, shape):
    x, indices = values(2, 3, 4), integers(0, 2, shape)
    node = helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=batch_dims)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
            helper.make_tensor_value_info("i", TensorProto.INT64, shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x.numpy(), "i": indices.numpy().astype(np.int64)})
    assert np.array_equal(ops.gather_nd(x, indices, batch_dims), expected)


def test_gather_nd_counts_negative_indices_from_the_end():
    x = values(3, 4)
    assert torch.equal(ops.gather_nd(x, torch.tensor([[-1, -4]])), x[2, 0].reshape(1))


def scattered(data, places, mode):
    """The definition: one write after the other."""
    found = data.numpy().copy()
    for place, update in places:
        found[place] = COMBINE[mode](found[place], update)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_writes_slices_one_after_the_other(mode, axis):
    data, indices, updates = values(3, 3, 3), integers(-3, 3, (5,)), None
    shape = list(data.shape)
    shape[axis] = 5
    updates = values(*shape, seed=1)
    places = []
    for k, inner in itertools.product(range(5), itertools.product(range(3), repeat=2)):
        place, source = list(inner), list(inner)
        position = axis % 3
        place.insert(position, int(indices[k]))
        source.insert(position, k)
        places.append((tuple(place), updates[tuple(source)].item()))
    found = ops.scatter(data, indices, updates, axis, mode)
    np.testing.assert_allclose(found, scattered(data, places, mode), rtol=1e-5)


def test_scatter_takes_indices_of_any_rank():
    data, indices, updates = values(4, 2), integers(0, 4, (2, 3)), values(2, 3, 2, seed=1)
    flat = ops.scatter(data, indices.reshape(-1), updates.reshape(6, 2), 0, "add")
    assert torch.equal(ops.scatter(data, indices, updates, 0, "add"), flat)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [0, -1])
def test_scatter_along_axis_writes_elements_one_after_the_other(mode, axis):
    data = values(3, 4)
    indices = integers(-3, 3, (5, 4)) if axis == 0 else integers(-4, 4, (3, 6))
    updates = values(*indices.shape, seed=1)
    places = []
    for i, j in itertools.product(*map(range, indices.shape)):
        index = int(indices[i, j])
        places.append(((index, j) if axis == 0 else (i, index), updates[i, j].item()))
    found = ops.scatter_along_axis(data, indices, updates, axis, mode)
    np.testing.assert_allclose(found, scattered(data, places, mode), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_scatter_nd_writes_slices_one_after_the_other(mode):
    data, indices, updates = values(3, 3, 2), integers(-3, 3, (6, 2)), values(6, 2, seed=1)
    places = [((int(i), int(j), k), updates[n, k].item()) for n, (i, j) in enumerate(indices) for k in range(2)]
    found = ops.scatter_nd(data, indices, updates, mode)
    np.testing.assert_allclose(found, scattered(data, places, mode), rtol=1e-5)


@pytest.mark.parametrize(
    ("function", "indices"),
    [
        (ops.scatter_ios17, torch.tensor([-1, 3, 1])),
        (ops.scatter_along_axis_ios17, torch.tensor([-1, 3, 1])),
        (ops.scatter_nd_ios17, torch.tensor([[-1], [3], [1]])),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_writes_since_ios17_outside_do_nothing_and_refuse_when_told(function, indices, mode):
    data, updates = values(3), values(3, seed=1)
    found = function(data, indices, updates, mode=mode)
    np.testing.assert_allclose(found, scattered(data, [(1, updates[2].item())], mode), rtol=1e-6)
    with pytest.raises(IndexError, match="validate_indices"):
        function(data, indices, updates, validate_indices=True)


def test_integer_division_truncates_and_unknown_modes_are_refused():
    data, indices = torch.tensor([-7, 7], dtype=torch.int32), torch.tensor([0, 1])
    assert ops.scatter(data, indices, torch.tensor([2, 2], dtype=torch.int32), 0, "div").tolist() == [-3, 3]
    with pytest.raises(ValueError, match="xor"):
        ops.scatter(data, indices, data, 0, "xor")
