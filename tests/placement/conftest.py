"""Small ONNX models, made by onnx's own helper."""

import onnx
import pytest
from onnx import helper, numpy_helper


@pytest.fixture
def write(tmp_path):
    """write(nodes, inputs, outputs, tensors, opset=20) -> path of a model that onnx's checker passes."""

    def make(nodes, inputs, outputs, tensors=(), *, opset=20, name="model"):
        infos = [[helper.make_tensor_value_info(*each) for each in group] for group in (inputs, outputs)]
        stored = [numpy_helper.from_array(value, name) for name, value in dict(tensors).items()]
        graph = helper.make_graph(nodes, "g", *infos, initializer=stored)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        if any(shape is None for _, _, shape in outputs):
            model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return make
