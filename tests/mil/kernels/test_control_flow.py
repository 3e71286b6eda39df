"""Oracles: Python's own if, while and list, and numpy's where."""

import numpy as np
import pytest
import torch

from swiftdeploy.mil.kernels import control_flow as ops
from swiftdeploy.mil.kernels.registry import TensorList


def ints(*values):
    return torch.tensor(values, dtype=torch.int32)


@pytest.mark.parametrize("pred", [True, False])
def test_cond_runs_one_block_only(pred):
    ran = []

    def block(name):
        def run():
            ran.append(name)
            return (ints(len(name)),)

        return run

    (found,) = ops.cond(pred, (block("yes"), block("no")))
    assert ran == (["yes"] if pred else ["no"])
    assert found.item() == (3 if pred else 2)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_while_loop_equals_while(limit):
    def holds(i, _):
        return (i < limit,)

    def body(i, total):
        return i + 1, total + i

    i, total = 0, 0
    while i < limit:
        i, total = i + 1, total + i
    found = ops.while_loop((ints(0), ints(0)), (holds, body))
    assert [value.item() for value in found] == [i, total]


def test_select_equals_where_with_broadcasting():
    cond = torch.tensor([[True], [False]])
    a, b = torch.arange(3.0), torch.tensor(9.0)
    assert np.array_equal(ops.select(cond, a, b), np.where(cond, a, b))
    # What is not selected may be anything.
    assert ops.select(torch.tensor(True), torch.tensor(1.0), torch.tensor(float("nan"))).item() == 1.0


@pytest.mark.parametrize(("dtype", "carrier"), [("fp32", torch.float32), ("int32", torch.int32), ("bool", torch.bool)])
def test_make_list_holds_zeros(dtype, carrier):
    ls = ops.make_list((ints(2), ints(3)), init_length=2, dtype=dtype)
    assert ops.list_length(ls).item() == 2
    assert torch.equal(ops.list_read(ls, 1), torch.zeros(2, 3, dtype=carrier))


def test_a_size_that_is_a_name_is_known_after_the_first_write():
    ls = ops.make_list((ints(2), "is0"), init_length=2)
    with pytest.raises(IndexError, match="item 0 of the list was never written"):
        ops.list_read(ls, 0)
    written = ops.list_write(ls, 1, torch.ones(2, 5))
    assert torch.equal(ops.list_read(written, 0), torch.zeros(2, 5))


def test_a_write_makes_a_new_list_and_grows_it_by_zeros():
    ls = ops.make_list((ints(2),), init_length=1)
    longer = ops.list_write(ls, 3, torch.tensor([1.0, 2.0]))
    assert (len(ls.items), len(longer.items)) == (1, 4)
    assert ops.list_gather(longer, (0, 2, 3)).tolist() == [[0, 0], [0, 0], [1, 2]]


def test_scatter_writes_the_slices_in_order():
    ls = ops.make_list((ints(1),), init_length=2)
    found = ops.list_scatter(ls, (2, 0, 2), torch.tensor([[1.0], [2.0], [3.0]]))
    assert ops.list_gather(found, (0, 1, 2)).tolist() == [[2], [0], [3]]
    with pytest.raises(ValueError, match="zip"):
        ops.list_scatter(ls, (0,), torch.zeros(2, 1))


def test_reading_outside_a_list_is_an_error():
    with pytest.raises(IndexError):
        ops.list_read(TensorList(items=()), 0)
