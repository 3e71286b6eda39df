"""Wrong artifacts and wrong manifests, each refused with the mistake that was made; right ones pass."""

import dataclasses
import shutil
import textwrap

import coremltools as ct
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from swiftdeploy import bundle, console
from swiftdeploy.capture import freeze
from swiftdeploy.errors import ParityError, UsageError
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.mistakes import mistakes
from swiftdeploy.pipeline.preprocessing import verify_preprocessing
from swiftdeploy.pipeline.program import PixelInput
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions, Preprocessing
from swiftdeploy.targets import onnx

SIZE = 32
RIGHT = Preprocessing(resize=256, crop=224)  # what a model of one's own is taken to be trained with
MEAN, STD = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (RIGHT.mean, RIGHT.std))
NETS = """
    import torch
    from torch import nn

    def make():
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 16, 3, 2), nn.SiLU(), nn.Flatten(), nn.Linear(784, 10)
        )
"""


class Before(nn.Module):
    """Some step inside the artifact, before the model."""

    def __init__(self, module, step):
        super().__init__()
        self.module, self.step = module, step

    def forward(self, x):
        return self.module(self.step(x))


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """(the module, the folder of its factory and its checkpoint)."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "parity_nets.py").write_text(textwrap.dedent(NETS))
    scope = {}
    exec(textwrap.dedent(NETS), scope)
    torch.manual_seed(3)
    module = scope["make"]().eval().requires_grad_(False)
    torch.save(module.state_dict(), folder / "net.pth")
    return module, folder


@pytest.fixture
def check(net, monkeypatch):
    """check(path) verifies a lone artifact or a bundle; the model is named, since its code is run."""
    monkeypatch.chdir(net[1])

    def run(path, *, model="parity_nets:make", images=None):
        return verify_preprocessing(path, str(net[1] / "net.pth"), model=model, attention=None, images=images)

    return run


def pixels(module):
    return PixelInput(module, RIGHT)


def normalise(x):
    return (x / 255 - MEAN) / STD


def package(module, path, precision="fp32", **image):
    """A Core ML package with an image input, as coremltools itself makes it."""
    traced = freeze(module.eval(), torch.zeros(1, 3, SIZE, SIZE), input_name="image").traced
    compute = {"fp32": ct.precision.FLOAT32, "fp16": ct.precision.FLOAT16}[precision]
    with console.quiet():
        model = ct.convert(
            traced,
            inputs=[ct.ImageType(name="image", shape=(1, 3, SIZE, SIZE), **image)],
            outputs=[ct.TensorType(name="logits")],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=compute,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def onnx_file(module, path, precision="fp32"):
    program = freeze(module.eval(), torch.zeros(1, 3, SIZE, SIZE), input_name="image")
    onnx.convert(program, path, precision=precision, opset=20)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_right_artifacts_pass(net, check, tmp_path, precision):
    tensor = check(onnx_file(net[0], tmp_path / "x.onnx", precision))
    image = check(package(pixels(net[0]), tmp_path / "x.mlpackage", precision))
    assert [r.legs[0].name for r in (*tensor.reports, *image.reports)] == ["preprocessing"] * 2
    assert {r.verdict for r in (*tensor.reports, *image.reports)} == {"pass"}


def test_normalising_by_scale_and_bias_is_right_too(net, check, tmp_path):
    """Apple's way: one scale and a bias a channel; exact where one std serves all channels, as here after dividing."""
    divided = Before(net[0], lambda x: x / STD)
    path = package(divided, tmp_path / "x.mlpackage", scale=1 / 255, bias=[-m for m in RIGHT.mean])
    assert check(path).reports[0].verdict == "pass"


INSIDE = {"scale": 1 / 255}


@pytest.mark.parametrize(
    ("inside", "image", "sentence"),
    [
        (lambda m: m, INSIDE, "normalisation is missing: pixels are scaled to 0..1, mean and std are not applied"),
        (lambda m: m, {}, "scaling and normalisation are missing: pixels 0 to 255 arrive as they are"),
        (pixels, INSIDE, "pixels are scaled twice: by 1/255 and, by what expects 0 to 255, once more"),
        (lambda m: Before(m, normalise), INSIDE, "pixels are scaled twice"),
        (lambda m: Before(pixels(m), normalise), {}, "the input is normalised twice: the model expects pixels"),
        (lambda m: Before(m, lambda x: (normalise(x) - MEAN) / STD), {}, "the input is normalised twice: mean and std"),
        (pixels, {"color_layout": ct.colorlayout.BGR}, "the colours are in the order BGR instead of RGB"),
        (lambda m: Before(m, lambda x: x / STD), INSIDE, "the mean is missing: only std is applied"),
        (lambda m: Before(m, lambda x: x / 255 - MEAN), {}, "the std is missing: only the mean is applied"),
        (lambda m: Before(m, lambda x: (x - MEAN) / STD), {}, "mean and std, meant for 0..1, are applied to pixels"),
        (
            lambda m: Before(m, lambda x: (x / 255 - MEAN.flip(1)) / STD.flip(1)),
            {},
            "mean and std are in the order BGR instead of RGB",
        ),
        (
            lambda m: m,
            {"scale": 2 / 255, "bias": [-1.0] * 3},
            r"mean and std are -1 to 1 \(0.5 and 0.5\), not the model",
        ),
        (
            lambda m: m,
            {**INSIDE, "color_layout": ct.colorlayout.BGR},
            "BGR instead of RGB; normalisation is missing",
        ),
    ],
)
def test_a_wrong_image_input_is_refused_and_named(net, check, tmp_path, inside, image, sentence):
    path = package(inside(net[0]), tmp_path / "x.mlpackage", **image)
    with pytest.raises(ParityError, match=sentence) as caught:
        check(path)
    assert caught.value.exit_code == 6
    assert caught.value.fact.startswith("x.mlpackage: ")
    assert "docs/evaluate.md" in caught.value.hint


@pytest.mark.parametrize(
    ("inside", "image", "sentence"),
    [
        (lambda m: m, INSIDE, "normalisation is missing"),
        (pixels, {"color_layout": ct.colorlayout.BGR}, "BGR instead of RGB"),
        (pixels, INSIDE, "pixels are scaled twice"),
    ],
)
def test_half_precision_hides_no_mistake(net, check, tmp_path, inside, image, sentence):
    with pytest.raises(ParityError, match=sentence):
        check(package(inside(net[0]), tmp_path / "x.mlpackage", "fp16", **image))


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (lambda x: (x - MEAN) / STD, "the input is normalised twice: mean and std are applied to what is normalised"),
        (lambda x: (x - 255 * MEAN) / (255 * STD), "the input is normalised twice: the model expects pixels"),
        (lambda x: x * STD + MEAN, "normalisation is missing"),
        (
            lambda x: x[:, [2, 1, 0]],
            "mean and std are in the order BGR instead of RGB|the colours are in the order BGR",
        ),
    ],
)
def test_a_wrong_tensor_input_is_refused_and_named(net, check, tmp_path, step, sentence):
    """A tensor is normalised by its caller: what the artifact does besides is the mistake."""
    with pytest.raises(ParityError, match=sentence):
        check(onnx_file(Before(net[0], step), tmp_path / "x.onnx"))


def test_wrong_weights_are_no_mistake_of_preprocessing(net, check, tmp_path):
    with pytest.raises(ParityError, match=r"no known mistake explains it \(logits: .* dB on"):
        check(onnx_file(Before(net[0], lambda x: x.abs().sqrt()), tmp_path / "x.onnx"))


def test_nan_is_no_mistake_of_preprocessing(net, check, tmp_path):
    with pytest.raises(ParityError, match="it answers with NaN or Inf"):
        check(onnx_file(Before(net[0], lambda x: x * 1e38 * 1e38), tmp_path / "x.onnx"))


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    """The same model as an exported bundle."""
    options = ExportOptions(targets=("onnx",), precisions=("fp32",), input_size=(SIZE, SIZE), verify=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(net[1])
        request = ExportRequest(
            model="parity_nets:make",
            checkpoint=str(net[1] / "net.pth"),
            destination=tmp_path_factory.mktemp("out") / "net",
            options=options,
        )
        return export(request).bundle


@pytest.fixture
def stated(exported, tmp_path, refit):
    """stated(**changes) is the bundle with another preprocessing in its manifest."""

    def make(**changes):
        folder = shutil.copytree(exported, tmp_path / "net")
        manifest = bundle.read_manifest(folder)
        return refit(folder, preprocessing=dataclasses.replace(manifest.preprocessing, **changes))

    return make


def test_a_bundle_passes(check, exported, tmp_path):
    Image.fromarray(np.random.Generator(np.random.PCG64(0)).integers(0, 256, (50, 90, 3), dtype=np.uint8)).save(
        tmp_path / "mine.png"
    )
    found = check(exported, images=tmp_path)
    output = found.reports[0].legs[0].outputs[0]
    assert (found.files, found.reports[0].verdict, output.samples) == (3, "pass", 4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"squash": True, "resize": 224}, "the whole image is squashed to the input's size instead of cropping"),
        ({"resize": 224}, "the shorter side is resized to 224 px instead of 256 px before cropping"),
        ({"interpolation": "bilinear"}, "images are resized with another filter than the bicubic one"),
        ({"squash": True, "resize": 224, "interpolation": "bilinear"}, "squashed .*; images are resized with another"),
        ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, "normalisation is missing"),
        ({"mean": RIGHT.mean[::-1], "std": RIGHT.std[::-1]}, "mean and std are in the order BGR"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "mean and std are -1 to 1"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3, "squash": True, "resize": 224}, "squashed .*; mean and std are -1"),
    ],
)
def test_a_manifest_that_states_another_preprocessing(check, stated, changes, sentence):
    with pytest.raises(ParityError, match=sentence):
        check(stated(**changes))


def test_a_crop_for_a_squash():
    """Where training squashed, the known mistake is the crop."""
    right = Preprocessing(resize=32, crop=32, squash=True, interpolation="bilinear")
    facts = [m.facts[0] for m in mistakes([Image.new("RGB", (40, 60))], (32, 32), right) if len(m.facts) == 1]
    assert "the centre is cropped from a shorter side of 36 px instead of squashing the whole image" in facts
    assert len(set(facts)) == len(facts)


def test_every_mistake_is_one():
    """None of them gives the right input, and singles come before pairs."""
    generator = np.random.Generator(np.random.PCG64(1))
    picture = Image.fromarray(generator.integers(0, 256, (70, 90, 3), dtype=np.uint8))
    known = list(mistakes([picture], (SIZE, SIZE), RIGHT))
    right = dataclasses.replace(known[0], steps=tuple(dataclasses.replace(s, fact="") for s in known[0].steps))
    assert right.facts == ()
    counts = [len(m.facts) for m in known]
    assert counts == sorted(counts)
    assert set(counts) == {1, 2}
    inputs = [m.inputs() for m in known if len(m.facts) == 1]
    assert all(x.shape == (1, 3, SIZE, SIZE) and x.dtype == np.float32 for x in inputs)
    # No two are the same but for rounding: of such a pair the name would be chance.
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(inputs) for b in inputs[:i])


def test_grey_has_no_order():
    grey = Preprocessing(resize=32, crop=32, mean=(0.5,), std=(0.5,))
    facts = {fact for m in mistakes([Image.new("L", (40, 60))], (32, 32), grey) for fact in m.facts}
    assert not any("BGR" in fact or "CLIP" in fact for fact in facts)


def test_the_digits_bundle(digits_bundle, digits):
    found = verify_preprocessing(
        digits_bundle,
        str(digits / "swiftformer_digits.pth"),
        model=None,
        attention=None,
        images=digits / "images" / "3",
    )
    assert {report.verdict for report in found.reports} == {"pass"}
    assert [report.legs[0].outputs[0].samples for report in found.reports] == [3 + 16] * 4


def test_a_lone_artifact_does_not_know_its_model(digits_bundle, digits):
    path = digits_bundle / "swiftformer_digits-fp32.onnx"
    with pytest.raises(UsageError, match="does not say which model"):
        verify_preprocessing(path, str(digits / "swiftformer_digits.pth"), model=None, attention=None, images=None)
