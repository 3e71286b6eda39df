"""A user's own network passes all legs in both targets, whatever constants the converters add. onnx itself is the
oracle for what stands in the file."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from swiftdeploy.errors import ModelError, ParityError, SwiftdeployError
from swiftdeploy.pipeline import export as module
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions

NETS = (
    *("groups", "group", "instance", "instance_affine", "layer_norm_bare", "upsampled", "scaled"),
    *("lstm", "gru", "even_slopes", "one_image"),
)


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """exported(net, **options) -> the result; the networks are imported under a name of this test's own."""
    shutil.copy(Path(__file__).with_name("own_nets.py"), tmp_path / "own_nets_here.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(net, **options):
        return export(
            ExportRequest(
                model=f"own_nets_here:{net}",
                untrained=0,
                destination=tmp_path / net,
                options=ExportOptions(**{"input_size": (32, 32), **options}),
            )
        )

    return run


@pytest.mark.parametrize("net", NETS)
def test_every_leg_passes_in_both_targets(exported, net):
    result = exported(net, targets=("coreml", "onnx"), precisions=("fp16", "fp32"))
    verdicts = {a.path: [leg.verdict for leg in a.parity.legs] for a in result.manifest.artifacts}
    assert verdicts == dict.fromkeys(verdicts, ["pass"] * 3)
    assert len(verdicts) == 4


@pytest.mark.parametrize("net", ["wide_groups", "lstm", "gru"])
def test_they_compress(exported, net):
    """A GRU's weights lie in the body of a loop, an LSTM's are no layer's that coremltools compresses: both stay."""
    result = exported(net, precisions=("int8", "pal4"))
    for artifact in result.manifest.artifacts:
        assert [leg.verdict for leg in artifact.parity.legs] == ["pass"] * 3
        assert [tensor.name for tensor in artifact.compression.tensors] == ["stem_weight"]
    reasons = {kept.reason for kept in result.manifest.artifacts[0].compression.kept}
    assert any("body of a loop" in reason for reason in reasons) == (net == "gru")


@pytest.mark.parametrize(
    ("net", "fact"),
    [
        ("named", "Odd returns a dict"),
        ("nested", r"Odd returns a tuple of \(Tensor, list\)"),
        ("two_images", r"TwoImages\.forward takes 2 inputs \(left, right\)"),
    ],
)
def test_a_forward_that_no_artifact_can_have_is_named_before_the_slow_part(exported, net, fact, monkeypatch):
    monkeypatch.setattr(module, "prepare", lambda *_: pytest.fail("it is too late"))
    with pytest.raises(SwiftdeployError, match=fact):
        exported(net)


def test_a_forward_that_says_one_image_has_no_free_batch(exported):
    with pytest.raises(ModelError, match=r"fails on an input of shape \(2, 3, 32, 32\): RuntimeError") as caught:
        exported("one_image", targets=("onnx",), dynamic_batch=True)
    assert "--dynamic-batch" in caught.value.hint


def test_the_files_do_hold_constants_of_the_exporter(exported):
    """Without them the test above would show nothing."""
    held = {}
    for net in ("groups", "upsampled"):
        bundle = exported(net, targets=("onnx",), precisions=("fp32",)).bundle
        graph = onnx.load(bundle / f"{net}-fp32.onnx").graph
        tensors = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
        held[net] = [tensor.tolist() for tensor in tensors if tensor.dtype == np.float32 and tensor.shape == (4,)]
    assert held == {"groups": [[1.0] * 4, [0.0] * 4], "upsampled": [[1.0, 1.0, 2.0, 2.0]]}


def test_a_foreign_tensor_in_such_a_file_is_refused(exported, monkeypatch):
    """The scales of a Resize are no weights; the same numbers as the factor of a product would be."""
    original = module.convert

    def add(*arguments, **options):
        answer = original(*arguments, **options)
        for path in Path.cwd().rglob("*.onnx"):
            model = onnx.load(path)
            model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "foreign"))
            onnx.save(model, path)
        return answer

    monkeypatch.setattr(module, "convert", add)
    for precision, hint in (("fp32", "else report it as a bug"), ("fp16", "--precision fp32 passes")):
        with pytest.raises(ParityError, match="foreign: the module has no such tensor") as caught:
            exported("upsampled", targets=("onnx",), precisions=(precision,))
        assert hint in caught.value.hint
