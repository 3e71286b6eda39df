"""Programs are written by coremltools' builder, saved to disk, and read back by the reader under test."""

import gc
import warnings
from collections import Counter

import numpy as np
import pytest

from swiftdeploy.mil import load_program

MLPROGRAM_DTYPES = {"float32": "fp32", "float16": "fp16", "int32": "int32", "int8": "int8"}


@pytest.fixture(scope="session")
def ct():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
    # Each conversion ends with a full collection; freezing what is loaded by then makes it ten times cheaper.
    gc.freeze()
    return coremltools


@pytest.fixture
def save(ct, tmp_path):
    """save(graph, arrays, ios=15, half=False) -> path of a package whose inputs are named a, b, c, ..."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    def save(graph, arrays, *, ios=15, half=False, optimise=False, name="program"):
        target = getattr(ct.target, f"iOS{ios}")
        specs = []
        for array in arrays:
            dtype = getattr(types, MLPROGRAM_DTYPES[str(array.dtype)])
            specs.append(mb.TensorSpec(array.shape, dtype=dtype))
        names = "abcdefgh"[: len(arrays)]
        scope = {"graph": graph, "mb": mb}
        exec(f"def function({', '.join(names)}): return graph(mb, {', '.join(names)})", scope)
        program = mb.program(input_specs=specs, opset_version=target)(scope["function"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter drops a temporary folder without closing it
            model = ct.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=target,
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                pass_pipeline=ct.PassPipeline.DEFAULT if half or optimise else ct.PassPipeline.EMPTY,
                skip_model_load=True,
            )
        path = tmp_path / f"{name}.mlpackage"
        model.save(str(path))
        return path

    return save


@pytest.fixture
def convert(ct, tmp_path):
    """convert(module, example, inputs=[...], ios=16, **keywords) -> path of the package of a traced module."""
    import torch

    def convert(module, example, *, name="converted", ios=16, half=False, **keywords):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ct.convert(
                torch.jit.trace(module.eval(), example),
                minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                skip_model_load=True,
                **keywords,
            )
        path = tmp_path / f"{name}.mlpackage"
        model.save(str(path))
        return path

    return convert


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
