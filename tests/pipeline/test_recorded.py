"""What is recorded is the request, and gives it again."""

import dataclasses
import hashlib

import numpy as np
import pytest

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.parity.samples import Sample
from swiftdeploy.pipeline.recorded import images_digest, request_of, request_record
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import load_subject
from swiftdeploy.spec import ExportOptions, to_plain

OPTIONS = ExportOptions(
    targets=("onnx", "coreml"), precisions=("fp32", "fp16"), min_ios=17, opset=18, input_kind="image", verify=False
)


@pytest.fixture(scope="module")
def request_(digits, tmp_path_factory):
    return ExportRequest(
        model="swiftformer_digits",
        checkpoint=str(digits / "swiftformer_digits.pth"),
        attention="sum",
        destination=tmp_path_factory.mktemp("dist") / "digits",
        labels=str(digits / "labels.txt"),
        images=digits / "images",
        options=OPTIONS,
    )


@pytest.fixture(scope="module")
def recipe(request_):
    return request_record(load_subject(request_))


@pytest.fixture
def opened(digits_bundle, recipe):
    """The digits bundle, as if it had been made by that request."""
    read = bundle.read_bundle(digits_bundle)
    return bundle.Bundle(
        path=read.path, manifest=dataclasses.replace(read.manifest, recipe=recipe, labels="labels.txt")
    )


def test_the_request_comes_back(request_, opened):
    again = request_of(opened, request_.destination, checkpoint=request_.checkpoint, images=request_.images)
    assert dataclasses.replace(again, labels=request_.labels) == request_
    assert again.labels == str(opened.path / "labels.txt")


def test_every_option_is_recorded(recipe):
    assert set(recipe.options) == {field.name for field in dataclasses.fields(ExportOptions)}
    assert recipe.options == to_plain(OPTIONS)
    assert (recipe.model, recipe.attention) == ("swiftformer_digits", "sum")
    assert len(recipe.code) == 64


def test_every_field_of_a_request_is_accounted_for():
    """A new one must be recorded, or it cannot be given again."""
    known = {"model", "checkpoint", "untrained", "attention", "arguments", "labels", "images", "calibration", "options"}
    assert {field.name for field in dataclasses.fields(ExportRequest)} == known | {"destination", "force"}


def test_images_must_be_given_again(opened, tmp_path):
    with pytest.raises(UsageError, match="exported with --images"):
        request_of(opened, tmp_path / "x", checkpoint="x.pth", images=None)


def test_images_that_were_not_used_are_not_used(opened, digits, tmp_path):
    manifest = dataclasses.replace(opened.manifest, recipe=dataclasses.replace(opened.manifest.recipe, images=""))
    without = dataclasses.replace(opened, manifest=manifest)
    assert request_of(without, tmp_path / "x", checkpoint="x.pth", images=digits / "images").images is None


def test_calibration_must_be_given_again(opened, digits, request_, tmp_path):
    recipe = dataclasses.replace(opened.manifest.recipe, calibration="c" * 64)
    calibrated = dataclasses.replace(opened, manifest=dataclasses.replace(opened.manifest, recipe=recipe))
    given = {"checkpoint": "x.pth", "images": request_.images}
    with pytest.raises(UsageError, match="exported with --calibration"):
        request_of(calibrated, tmp_path / "x", **given)
    folder = digits / "images"
    assert request_of(calibrated, tmp_path / "x", **given, calibration=folder).calibration == folder
    assert request_of(opened, tmp_path / "x", **given, calibration=folder).calibration is None


def test_a_seed_comes_back(opened, tmp_path):
    provenance = dataclasses.replace(opened.manifest.provenance, weights="untrained", seed=7)
    recipe = dataclasses.replace(opened.manifest.recipe, images="", attention="")
    manifest = dataclasses.replace(opened.manifest, provenance=provenance, recipe=recipe, labels="")
    again = request_of(dataclasses.replace(opened, manifest=manifest), tmp_path / "x", checkpoint=None, images=None)
    assert (again.untrained, again.checkpoint, again.attention, again.labels) == (7, None, None, "")


def test_options_of_another_version(opened, tmp_path):
    recipe = dataclasses.replace(opened.manifest.recipe, images="", options={**to_plain(OPTIONS), "zip": 1})
    manifest = dataclasses.replace(opened.manifest, recipe=recipe)
    with pytest.raises(ArtifactError, match="does not know: ExportOptions: unknown key 'zip'"):
        request_of(dataclasses.replace(opened, manifest=manifest), tmp_path / "x", checkpoint="x", images=None)


def test_the_digest_of_images():
    one, two = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)
    lines = [f"{hashlib.sha256(a.tobytes()).hexdigest()}  {name}\n" for name, a in (("a", one), ("b", two))]
    expected = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    samples = [Sample(name="a", image=one), Sample(name="b", image=two)]
    assert images_digest(samples) == images_digest(samples[::-1]) == expected
    assert images_digest([Sample(name="a", image=two), Sample(name="b", image=one)]) != expected
    assert images_digest(()) == ""
