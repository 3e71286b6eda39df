"""One export for each thing that can be asked for, run by the formats' own doors."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from swiftdeploy import mil
from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import CheckpointError, ModelError, ParityError, SwiftdeployError, UsageError
from swiftdeploy.pipeline import export as module
from swiftdeploy.pipeline import program
from swiftdeploy.pipeline.against import verify_against
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.spec import Metadata

NET = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 5))

def features():
    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        def forward(self, x):
            x = self.a(x)
            return x, self.b(torch.relu(x))
    return Features()

def broken():
    return nn.Linear(7, 7)
"""


def artifact(result, suffix):
    return next(result.bundle / a.path for a in result.manifest.artifacts if a.path.endswith(suffix))


def softmax(logits):
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A user's own module in the working folder, under a name of its own: imports are remembered."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return name


def test_pixels_in_labels_out(export_to, digits, held_out, scores):
    """Image input takes 0 to 255 with the normalisation inside; labels make a classifier with real probabilities."""
    result = export_to(
        request={"labels": str(digits / "labels.txt"), "images": digits / "images" / "7"},
        input_kind="image",
        targets=("coreml", "onnx"),
        min_ios=17,
        metadata=Metadata(author="someone", license="MIT", version="3", description="digits"),
    )
    names = (digits / "labels.txt").read_text().split()
    package = mil.load_program(artifact(result, ".mlpackage"))
    onnx_session = session(artifact(result, ".onnx"))
    chosen = range(0, 360, 9)
    for index in chosen:
        pixels = held_out[0][index : index + 1]
        picture = Image.fromarray(pixels[0].transpose(1, 2, 0).astype(np.uint8))
        found = package.predict({"image": picture})
        probabilities = np.array([found["classLabel_probs"][name] for name in names])
        assert found["classLabel"] == names[scores[index].argmax()]
        assert probabilities.sum() == pytest.approx(1.0, abs=2e-3)
        np.testing.assert_allclose(probabilities, softmax(scores[index]), atol=6e-3)
        dtype = np.float16 if "float16" in onnx_session.get_inputs()[0].type else np.float32
        logits = onnx_session.run(None, {"image": pixels.astype(dtype)})[0]
        assert logits.argmax() == scores[index].argmax()
    manifest = result.manifest
    assert (manifest.input_kind, manifest.labels) == ("image", "labels.txt")
    assert (result.bundle / "labels.txt").read_text().split() == names
    assert manifest.metadata.author == "someone"
    outputs = manifest.artifacts[0].parity.legs[0].outputs
    assert [o.name for o in outputs] == ["classLabel_probs"]
    assert outputs[0].samples == 7 + 16
    assert verify_bundle(result.bundle).reports[0].verdict == "pass"
    found = verify_against(
        result.bundle, str(digits / "swiftformer_digits.pth"), model=None, attention=None, images=None
    )
    assert {report.verdict for report in found.reports} == {"pass"}


def test_the_golden_pixels_are_bytes(export_to):
    result = export_to(input_kind="image", targets=("onnx",), precisions=("fp32",), verify=False)
    inputs, outputs = read_bundle(result.bundle).golden()
    assert inputs["image"].dtype == np.uint8
    assert (inputs["image"][3] == 255).all()
    found = session(artifact(result, ".onnx")).run(None, {"image": inputs["image"][:1].astype(np.float32)})[0]
    np.testing.assert_allclose(found, outputs["logits"][:1], rtol=1e-4, atol=1e-4)


def test_untrained_weights_are_seeded_and_the_manifest_says_so(export_to, tmp_path):
    both = [
        export_to(
            request={"untrained": seed, "destination": tmp_path / f"seed{number}"},
            targets=("onnx",),
            precisions=("fp32",),
            verify=False,
        )
        for number, seed in enumerate((5, 5))
    ]
    assert both[0].manifest.artifacts[0].sha256 == both[1].manifest.artifacts[0].sha256
    assert both[0].manifest.provenance.weights == "untrained"
    assert both[0].manifest.provenance.seed == 5


def test_a_batch_of_more_than_there_are_samples(export_to, held_out, scores):
    batch = 8
    result = export_to(targets=("onnx",), precisions=("fp32",), batch=batch)
    images = (held_out[0][:batch] / 255 - 0.5) / 0.5
    found = session(artifact(result, ".onnx")).run(None, {"image": images})[0]
    np.testing.assert_allclose(found, scores[:batch], rtol=1e-3, atol=1e-3)
    assert result.manifest.inputs[0].shape == (batch, 3, 32, 32)
    assert verify_bundle(result.bundle).reports[0].legs[0].outputs[0].samples == 4


def test_batch_in_core_ml(export_to, held_out, scores):
    result = export_to(targets=("coreml",), precisions=("fp32",), batch=2, verify=False)
    images = (held_out[0][:2] / 255 - 0.5) / 0.5
    found = mil.load_program(artifact(result, ".mlpackage")).predict({"image": images})["logits"]
    np.testing.assert_allclose(found, scores[:2], rtol=1e-3, atol=1e-3)
    assert result.manifest.artifacts[0].parity is None


def test_any_batch_and_ort(export_to, held_out, scores, digits):
    result = export_to(targets=("onnx",), precisions=("fp32",), dynamic_batch=True, ort=True, verify=False)
    onnx.checker.check_model(onnx.load(artifact(result, ".onnx")), full_check=True)
    for suffix in (".onnx", ".ort"):
        opened = session(artifact(result, suffix))
        for batch in (1, 5):
            images = (held_out[0][:batch] / 255 - 0.5) / 0.5
            np.testing.assert_allclose(opened.run(None, {"image": images})[0], scores[:batch], rtol=1e-3, atol=1e-3)
    assert len(verify_bundle(result.bundle).reports) == 2
    found = verify_against(
        result.bundle, str(digits / "swiftformer_digits.pth"), model=None, attention=None, images=None
    )
    assert len(found.reports) == 1  # the .ort file's weights cannot be read back


@pytest.mark.parametrize("fuse", [True, False])
def test_a_factory_of_the_working_folder(export_to, nets, tmp_path, fuse):
    torch.manual_seed(3)
    exec(NET, space := {})
    net = space["net"]()
    net.train()(torch.randn(8, 3, 32, 32))
    torch.save(net.eval().state_dict(), tmp_path / "net.pt")
    result = export_to(
        request={"model": f"{nets}:net", "checkpoint": str(tmp_path / "net.pt"), "attention": None},
        targets=("coreml", "onnx"),
        precisions=("fp32",),
        input_size=(32, 32),
        fuse=fuse,
    )
    inputs, _ = read_bundle(result.bundle).golden()
    with torch.no_grad():
        expected = net(torch.from_numpy(inputs["image"])).numpy()
    name = result.manifest.outputs[0].name
    found = [
        mil.load_program(artifact(result, ".mlpackage")).predict({"image": x[None]})[name] for x in inputs["image"]
    ]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-4)
    assert result.manifest.model.family == "custom"
    assert bool(result.manifest.fusion) is fuse
    checkpoint = str(tmp_path / "net.pt")
    assert (
        verify_against(result.bundle, checkpoint, model=f"{nets}:net", attention=None, images=None).reports[0].verdict
        == "pass"
    )
    net[0].weight.data[0] *= 1.05
    torch.save(net.state_dict(), checkpoint)
    with pytest.raises(ParityError):
        verify_against(result.bundle, checkpoint, model=f"{nets}:net", attention=None, images=None)
    with pytest.raises(UsageError, match="code outside the catalog"):
        verify_against(result.bundle, checkpoint, model=None, attention=None, images=None)


def test_several_outputs(export_to, nets):
    request = {"model": f"{nets}:features", "untrained": 0, "attention": None}
    result = export_to(request=request, targets=("onnx",), precisions=("fp32",), input_size=(32, 48))
    assert [spec.shape for spec in result.manifest.outputs] == [(1, 4, 16, 24), (1, 6, 8, 12)]
    assert len(verify_bundle(result.bundle).reports[0].legs[0].outputs) == 2


def test_the_digits_unfused(export_to, scores, held_out):
    result = export_to(targets=("onnx",), precisions=("fp32",), fuse=False)
    assert result.manifest.fusion == ()
    assert result.manifest.artifacts[0].parity.verdict == "pass"
    found = session(artifact(result, ".onnx")).run(None, {"image": (held_out[0][:1] / 255 - 0.5) / 0.5})[0]
    np.testing.assert_allclose(found, scores[:1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "kind", "fact"),
    [
        ({"checkpoint": None}, CheckpointError, "no checkpoint is given"),
        ({"untrained": 3, "checkpoint": "x"}, UsageError, "contradict"),
        ({"model": "swiftformer_digit"}, ModelError, "no model is named"),
        ({"model": "no.such.module:net", "attention": None}, ModelError, "does not import"),
        ({"labels": "nowhere.txt"}, UsageError, "cannot be read"),
        ({"labels": "imagenet"}, UsageError, "1000 labels, the model has 10"),
        ({"images": "nowhere"}, UsageError, "is no folder"),
        ({"attention": None}, CheckpointError, "two SwiftFormer generations"),
    ],
)
def test_what_is_refused_writes_nothing(tmp_path, digits, changes, kind, fact):
    plain = {
        "model": "swiftformer_digits",
        "checkpoint": str(digits / "swiftformer_digits.pth"),
        "attention": "token_l2",
        **changes,
    }
    if "images" in plain:
        plain["images"] = tmp_path / plain["images"]
    with pytest.raises(kind, match=fact) as caught:
        module.export(ExportRequest(**plain, destination=tmp_path / "dist" / "bundle"))
    assert isinstance(caught.value, SwiftdeployError)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_take_images(export_to, nets, tmp_path):
    with pytest.raises(ModelError, match="fails on an input of shape"):
        export_to(request={"model": f"{nets}:broken", "untrained": 0, "attention": None})
    assert not (tmp_path / "dist").exists()


def test_an_existing_bundle_is_refused_before_any_work(export_to, tmp_path, monkeypatch):
    (tmp_path / "dist" / "bundle").mkdir(parents=True)
    (tmp_path / "dist" / "bundle" / "manifest.json").write_text("{}")
    monkeypatch.setattr(module, "load_subject", None)
    with pytest.raises(UsageError, match="exists already"):
        export_to()


def tampered(monkeypatch, change):
    """Let every conversion to ONNX end with change(tensors, call): what a wrong converter would do."""
    convert, calls = module.convert, []

    def wrong(*arguments):
        paths = convert(*arguments)
        model = onnx.load(paths[0])
        change(model.graph, len(calls))
        onnx.save(model, paths[0])
        calls.append(paths)
        return paths

    monkeypatch.setattr(module, "convert", wrong)


def scale(tensor, factor, *, first=None):
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[slice(first)] *= np.asarray(factor, values.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def largest(graph):
    return max(graph.initializer, key=lambda tensor: np.prod(tensor.dims))


def test_leg_1_real_weights(export_to, monkeypatch, tmp_path):
    """Only the first artifact, that of the real weights, is wrong."""
    tampered(monkeypatch, lambda graph, call: call == 0 and scale(largest(graph), 1.5))
    with pytest.raises(ParityError, match=r"fails leg 'outputs': logits: .* first at"):
        export_to(targets=("onnx",), precisions=("fp32",))
    assert not (tmp_path / "dist").exists()


def test_leg_2_stress_weights(export_to, monkeypatch, tmp_path):
    """A converter that is wrong only where weights are not at their defaults."""
    tampered(monkeypatch, lambda graph, call: call == 1 and scale(largest(graph), 1.5))
    with pytest.raises(ParityError, match="fails leg 'stress'"):
        export_to(targets=("onnx",), precisions=("fp32",))
    assert not (tmp_path / "dist").exists()


def test_leg_3_every_weight(export_to, monkeypatch, tmp_path):
    """One number of one tensor, 1 % off, in fp16: no output leaves its gate."""
    tampered(monkeypatch, lambda graph, call: scale(largest(graph), 1.01, first=1))
    with pytest.raises(ParityError, match=r"fails leg 'weights': .* differ by 0\.") as caught:
        export_to(targets=("onnx",), precisions=("fp16",))
    assert caught.value.exit_code == 6
    assert not (tmp_path / "dist").exists()


def test_a_renamed_output(export_to, monkeypatch):
    def rename(graph, call):
        for node in graph.node:
            node.output[:] = ["other" if name == "logits" else name for name in node.output]
        graph.output[0].name = "other"

    tampered(monkeypatch, rename)
    with pytest.raises(ParityError, match="logits: the artifact does not return it"):
        export_to(targets=("onnx",), precisions=("fp32",))


def test_no_verify_believes_the_converter(export_to, monkeypatch):
    """What the switch gives up, and that the bundle says so."""
    tampered(monkeypatch, lambda graph, call: scale(largest(graph), 1.5))
    result = export_to(targets=("onnx",), precisions=("fp32",), verify=False)
    assert result.manifest.artifacts[0].parity is None
    with pytest.raises(ParityError, match="does not give the oracle's answers"):
        verify_bundle(result.bundle)


def test_a_fused_graph_that_is_wrong_is_never_converted(export_to, monkeypatch, tmp_path):
    right = program.fuse

    def wrong(graph, images):
        result = right(graph, images)
        for weight in [*result.graph.parameters(), *result.graph.buffers()]:
            weight.requires_grad_(False).mul_(1.01 if weight.dim() == 4 else 1.0)
        return result

    monkeypatch.setattr(program, "fuse", wrong)
    monkeypatch.setattr(module, "convert", None)
    with pytest.raises(ParityError, match="the fused graph fails leg 'fusion'"):
        export_to(targets=("onnx",))
    assert not (tmp_path / "dist").exists()


def test_seconds_are_told_and_stay_out_of_the_manifest(export_to):
    result = export_to(targets=("onnx",), precisions=("fp32",), verify=False)
    assert set(result.seconds) == {"load", "fuse", "convert", "bundle"}
    assert "seconds" not in json.loads((result.bundle / "manifest.json").read_text())
