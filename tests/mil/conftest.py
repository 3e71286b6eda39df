"""Programs are written by coremltools' builder, saved to disk, and read back by the reader under test."""

from collections import Counter

import numpy as np
import pytest

from swiftdeploy.mil import load_program


@pytest.fixture
def predict(save):
    """predict(graph, arrays, ios=15, half=False, ops=()) -> outputs in order; `ops` must be in the file."""

    def predict(graph, arrays, *, ios=15, half=False, ops=()):
        loaded = load_program(save(graph, arrays, ios=ios, half=half))
        present = Counter(operation.type for operation in loaded.function.block.operations)
        assert not set(ops) - set(present), f"the converter wrote {present}"
        given = {feature.name: array for feature, array in zip(loaded.inputs, arrays, strict=True)}
        answers = loaded.predict(given)
        return [answers[feature.name] for feature in loaded.outputs]

    return predict


@pytest.fixture
def agree(predict):
    """agree(case): the program's answers equal the case's oracle, in shape, dtype kind and value."""

    def agree(case, *, rtol=1e-5, atol=1e-6):
        found = predict(case["graph"], case["inputs"], ios=case.get("ios", 15), ops=case["ops"])
        wanted = case["oracle"](*case["inputs"])
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        assert len(found) == len(wanted)
        for array, exact in zip(found, map(np.asarray, wanted), strict=True):
            assert array.shape == (exact.shape or (1,))
            assert array.dtype.kind == exact.dtype.kind
            np.testing.assert_allclose(array, exact.reshape(array.shape), rtol=rtol, atol=atol)

    return agree
