"""Packages as they lie on disk, run in the reference runtime against eager torch."""

import dataclasses
import json
import tempfile

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.capture import freeze
from swiftdeploy.errors import ConversionError
from swiftdeploy.fuse import constants
from swiftdeploy.mil import load_program
from swiftdeploy.parity import compare
from swiftdeploy.parity.samples import synthetic, to_input
from swiftdeploy.pipeline.program import PROBABILITIES, build
from swiftdeploy.runtimes import open_artifact, run_samples
from swiftdeploy.spec import Metadata, Preprocessing
from swiftdeploy.targets import coreml

SPECIFICATION = {15: 6, 16: 7, 17: 8, 18: 9, 26: 10}
PSNR = {"fp32": 100.0, "fp16": 50.0}


def psnr(found, expected):
    error = np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2))
    return 20 * np.log10(np.abs(expected).max() / error)


def natural(found):
    """The first five rows: constant images leave a random network nothing but rounding."""
    return found[:5]


@pytest.mark.parametrize(
    ("min_ios", "precision"),
    [(15, "fp32"), (15, "fp16"), (16, "fp16"), (17, "fp32"), (18, "fp16"), (26, "fp16"), (26, "fp32")],
)
def test_a_package_answers_as_eager_torch_does(network, written, min_ios, precision):
    path = written("coreml", precision, min_ios=min_ios)
    runtime = open_artifact(path)
    found = run_samples(runtime, network("tiny", 32).images.numpy())
    assert list(found) == ["logits"]
    assert psnr(natural(found["logits"]), natural(network("tiny", 32).expected[0].numpy())) >= PSNR[precision]
    half = precision == "fp16" and min_ios >= 16
    assert runtime.inputs[0].dtype == ("float16" if half else "float32")
    assert runtime.inputs[0].shape == (1, 3, 32, 32)
    assert load_program(path).program.specification_version == SPECIFICATION[min_ios]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_weight_is_the_graphs_rounded_once(network, written, precision):
    names = constants(network("tiny", 32).fused.graph)
    expected = {name: value.numpy() for name, value in names.items()}
    stored = open_artifact(written("coreml", precision)).tensors()
    dtype = np.float16 if precision == "fp16" else np.float32
    for name, value in expected.items():
        assert stored[name].dtype == dtype
        np.testing.assert_array_equal(stored[name], value.astype(dtype))
    assert compare.weights(expected, stored, precision=precision).problems == ()


def test_the_attention_has_the_ops_that_fusing_left(written):
    counts = open_artifact(written("coreml", "fp16")).op_counts()
    assert not {"tile", "transpose", "reshape", "expand_dims", "batch_norm", "cast"} & set(counts)
    assert (counts["reduce_l2_norm"], counts["real_div"], counts["gelu"]) == (12, 8, 8)


def test_the_guard_of_a_norm_survives_in_fp16(written):
    """1e-12 would round to 6e-8, a subnormal that hardware may flush to 0: then 0/0."""
    found = []
    for operation in load_program(written("coreml", "fp16")).function.block.operations:
        if operation.type == "maximum":
            found += [float(b.value) for bs in operation.inputs.values() for b in bs if hasattr(b, "value")]
        if operation.type == "const" and operation.outputs[0].type.dtype == "fp16":
            value = operation.inputs["val"][0].value
            if value.ndim == 0:
                found.append(float(value))
    assert found.count(2.0**-14) >= 1
    assert min(found) >= 6.1e-5


@pytest.mark.parametrize("value", [0, 255])
def test_a_flat_image_gives_no_nan(written, value):
    runtime = open_artifact(written("coreml", "fp16"))
    flat = np.full((1, 3, 32, 32), (value / 255 - 0.5) / 0.5, np.float32)
    assert np.isfinite(runtime.run({"image": flat})["logits"]).all()


def test_several_outputs(network, written):
    of = ("tiny", 64, ("features", True))
    found = run_samples(
        open_artifact(written("coreml", "fp32", of=of)), network("tiny", 64, features=True).images[:1].numpy()
    )
    assert list(found) == ["features_0", "features_1", "features_2", "features_3"]
    for value, expected in zip(found.values(), network("tiny", 64, features=True).expected, strict=True):
        assert psnr(value, expected[:1].numpy()) >= 100


@pytest.fixture(scope="module")
def pixel(network, tmp_path_factory):
    """Packages that take pixels, one of them with each mistake that is easily made."""
    module = network("tiny", 32).module
    right = Preprocessing(resize=32, crop=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = [sample.image for sample in synthetic((32, 32), 3)]
    folder = tmp_path_factory.mktemp("pixel")
    with torch.no_grad():
        expected = module(torch.from_numpy(to_input(images, right, "tensor"))).numpy()

    def package(preprocessing, name, *, labels=(), wrap=None):
        pixels = torch.from_numpy(to_input(images, preprocessing, "image"))
        inner = module if wrap is None else wrap(module).eval()
        built = build(
            inner,
            pixels[:1],
            pixels,
            input_kind="image",
            preprocessing=preprocessing,
            labelled=bool(labels),
            fused=True,
        )
        path = folder / f"{name}.mlpackage"
        coreml.convert(
            built.classifier or built.program,
            path,
            precision="fp32",
            min_ios=16,
            input_kind="image",
            labels=labels,
        )
        return open_artifact(path)

    return package, right, np.stack(images).transpose(0, 3, 1, 2).astype(np.float32), expected


class Scaled(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module((x - 0.45) / 0.225)


def test_an_image_input_normalises_inside(pixel):
    package, right, pixels, expected = pixel
    runtime = package(right, "right")
    assert runtime.image
    assert runtime.inputs[0] == dataclasses.replace(runtime.inputs[0], shape=(1, 3, 32, 32), dtype="uint8")
    assert psnr(natural(run_samples(runtime, pixels)["logits"]), natural(expected)) >= 100
    feature = runtime.model.inputs[0]
    assert (feature.kind, feature.color, feature.height, feature.width) == ("image", "RGB", 32, 32)


@pytest.mark.parametrize(
    "mistake",
    [
        {"mean": (0.0,) * 3},  # forgotten
        {"mean": (0.0,) * 3, "std": (1.0,) * 3},
        {"std": (0.226,) * 3},  # one factor for all channels, as ImageType's scale would have it
        {"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)},  # BGR
    ],
    ids=["no mean", "neither", "one scale", "swapped channels"],
)
def test_a_wrong_normalisation_shows(pixel, mistake):
    package, right, pixels, expected = pixel
    wrong = package(dataclasses.replace(right, **mistake), "-".join(mistake) + str(len(str(mistake))))
    assert psnr(natural(run_samples(wrong, pixels)["logits"]), natural(expected)) < 60


def test_normalising_twice_shows(pixel):
    package, right, pixels, expected = pixel
    wrong = package(right, "twice", wrap=Scaled)
    assert psnr(natural(run_samples(wrong, pixels)["logits"]), natural(expected)) < 40


def test_labels_make_a_classifier_with_probabilities(pixel):
    package, right, pixels, expected = pixel
    labels = tuple(f"class {i}" for i in range(10))
    runtime = package(right, "labelled", labels=labels)
    assert runtime.outputs == (PROBABILITIES,)
    found = run_samples(runtime, pixels)[PROBABILITIES]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    exact = torch.softmax(torch.from_numpy(expected), -1).numpy()
    np.testing.assert_allclose(natural(found), natural(exact), atol=1e-4)
    for row, image in enumerate(pixels[:3]):
        answer = runtime.model.predict({"image": image.transpose(1, 2, 0).astype(np.uint8)})
        assert answer["classLabel"] == labels[int(exact[row].argmax())]
        assert list(answer[PROBABILITIES]) == list(labels)


def test_metadata_is_what_an_app_reads(network, tmp_path):
    program = freeze(nn.Conv2d(3, 2, 1).eval().requires_grad_(False), torch.zeros(1, 3, 32, 32), input_name="image")
    told = Metadata(author="A", license="Apache-2.0", version="1.2", description="A model.")
    coreml.convert(program, tmp_path / "m.mlpackage", precision="fp32", min_ios=16, metadata=told)
    spec = ct.utils.load_spec(str(tmp_path / "m.mlpackage"))
    meta = spec.description.metadata
    assert (meta.author, meta.license, meta.versionString, meta.shortDescription) == (
        "A",
        "Apache-2.0",
        "1.2",
        "A model.",
    )
    assert not any("date" in key for key in meta.userDefined)
    assert spec.description.input[0].shortDescription == "1 x 3 x 32 x 32, NCHW"


def test_weights_below_fp16_are_zero_and_not_the_least_number():
    conv = nn.Conv2d(2, 2, 1, bias=False).eval().requires_grad_(False)
    conv.weight.copy_(torch.tensor([1.0, 1e-9, -1e-9, 3e-8]).reshape(2, 2, 1, 1))
    copied = coreml.without_vanishing(freeze(conv, torch.zeros(1, 2, 4, 4), input_name="image").traced)
    weight = next(iter(copied.parameters())).flatten()
    assert weight.tolist()[:3] == [1.0, 0.0, 0.0]
    assert weight[3].half() == torch.tensor(3e-8).half()
    assert float(conv.weight.flatten()[1]) == pytest.approx(1e-9)


def test_what_the_converter_lacks_is_one_error_and_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.det(x)

    program = freeze(Odd(), torch.randn(1, 3, 32, 32), input_name="image")
    with pytest.raises(ConversionError, match="coremltools cannot convert") as caught:
        coreml.convert(program, tmp_path / "m.mlpackage", precision="fp32", min_ios=16)
    assert "\n" not in caught.value.fact
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_no_fault_of_the_program(network, tmp_path, monkeypatch):
    def full(model, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(coreml, "save_package", full)
    program = freeze(nn.ReLU(), torch.zeros(1, 3, 32, 32), input_name="image")
    with pytest.raises(OSError, match="No space"):
        coreml.convert(program, tmp_path / "m.mlpackage", precision="fp32", min_ios=16)


def test_identifiers_are_made_of_content(written):
    manifest = json.loads((written("coreml", "fp16") / "Manifest.json").read_text())
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]
    other = json.loads((written("coreml", "fp32") / "Manifest.json").read_text())
    assert manifest == other
