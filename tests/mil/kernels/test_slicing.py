"""Oracle: numpy's own slices, with the masks turned into None."""

import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError

X = np.arange(120, dtype=np.float32).reshape(4, 5, 6)

SLICES = {
    "plain": {"begin": [1, 0, 2], "end": [3, 5, 4]},
    "strides": {"begin": [0, 1, 0], "end": [4, 5, 6], "stride": [2, 2, 3]},
    "negative numbers": {"begin": [-3, -4, 0], "end": [-1, 5, -2]},
    "beyond the end": {"begin": [0, 3, 0], "end": [9, 99, 6]},
    "masks": {"begin": [3, 1, 4], "end": [1, 2, 2], "begin_mask": [True, False, True], "end_mask": [True, True, False]},
    "backwards": {"begin": [3, 4, 5], "end": [0, 1, 0], "stride": [-1, -2, -3]},
    "backwards to the start": {
        "begin": [0, 0, 0],
        "end": [0, 0, 0],
        "stride": [-1, -2, 1],
        "begin_mask": [True] * 3,
        "end_mask": [True] * 3,
    },
    "squeezed": {"begin": [1, 0, 2], "end": [0, 5, 0], "squeeze_mask": [True, False, True]},
    "squeezed from the end": {"begin": [-1, 0, -2], "end": [0, 5, 0], "squeeze_mask": [True, False, True]},
    "squeezed to a scalar": {"begin": [1, 2, 3], "end": [0, 0, 0], "squeeze_mask": [True] * 3},
}


def as_index(begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    for axis in range(3):
        if squeeze_mask and squeeze_mask[axis]:
            yield begin[axis]
        else:
            start = None if begin_mask and begin_mask[axis] else begin[axis]
            stop = None if end_mask and end_mask[axis] else end[axis]
            yield slice(start, stop, stride[axis] if stride else None)


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("ios", [15, 17])
def test_slice_by_index(predict, name, ios):
    found = predict(lambda mb, a: mb.slice_by_index(x=a, **SLICES[name]), [X], ios=ios, ops=["slice_by_index"])[0]
    wanted = X[tuple(as_index(**SLICES[name]))]
    assert found.shape == (wanted.shape or (1,))
    assert np.array_equal(found, wanted.reshape(found.shape))


def test_slice_by_index_at_places_that_depend_on_the_input(predict):
    graph = lambda mb, a, b, c: mb.slice_by_index(x=a, begin=b, end=c, stride=[1, 2, 1])  # noqa: E731
    found = predict(graph, [X, np.array([1, 0, -2], np.int32), np.array([3, 5, 6], np.int32)])[0]
    assert np.array_equal(found, X[1:3, 0:5:2, -2:])


@pytest.mark.parametrize("name", [name for name in SLICES if name != "squeezed to a scalar"])
def test_slice_update(predict, name):
    index = tuple(as_index(**SLICES[name]))
    update = -1 - np.arange(X[index].size, dtype=np.float32).reshape(X[index].shape)
    graph = lambda mb, a, b: mb.slice_update(x=a, update=b, **SLICES[name])  # noqa: E731
    found = predict(graph, [X, update], ios=18, ops=["slice_update"])[0]
    wanted = X.copy()
    wanted[index] = update
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("begin", "size", "index"),
    [
        ([1, 0, 2], [2, 5, 3], (slice(1, 3), slice(0, 5), slice(2, 5))),
        ([1, 2, 3], [-1, 1, -1], (slice(1, None), slice(2, 3), slice(3, None))),
        ([-2, 0, -1], [1, -1, 1], (slice(2, 3), slice(None), slice(5, 6))),
    ],
)
def test_slice_by_size(predict, begin, size, index):
    graph = lambda mb, a: mb.slice_by_size(x=a, begin=begin, size=size)  # noqa: E731
    assert np.array_equal(predict(graph, [X], ops=["slice_by_size"])[0], X[index])


def test_an_index_outside_is_refused(predict):
    graph = lambda mb, a, b: mb.slice_by_index(  # noqa: E731
        x=a, begin=b, end=[0, 5, 6], squeeze_mask=[True, False, False]
    )
    with pytest.raises(ArtifactError, match="index 4 is outside axis 0"):
        predict(graph, [X, np.array([4, 0, 0], np.int32)])
