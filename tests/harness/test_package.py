"""Packages that coremltools wrote, described and carried all the way into a project."""

import json
import warnings

import numpy as np
import pytest

from swiftdeploy.bundle import artifact_digest
from swiftdeploy.errors import ArtifactError, ModelError
from swiftdeploy.harness.digest import tree_sha256
from swiftdeploy.harness.model import HarnessModel
from swiftdeploy.harness.package import describe
from swiftdeploy.harness.plan import TensorPlan
from swiftdeploy.harness.render import render
from swiftdeploy.schema import load_schema


@pytest.fixture(scope="module")
def convert(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools as ct
        import torch

    folder = tmp_path_factory.mktemp("packages")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 5, 3, stride=2)

        def forward(self, x):
            y = self.conv(x)
            return y.mean((2, 3)), y

    def make(name, module=None, ios=16, classifier=None, image=False, shape=(1, 3, 16, 16)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace((module or Net()).eval(), torch.zeros(1, 3, 16, 16))
            kind = ct.ImageType(name="image", shape=shape) if image else ct.TensorType(name="image", shape=shape)
            made = ct.convert(
                traced,
                inputs=[kind],
                minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
                classifier_config=ct.ClassifierConfig(classifier) if classifier else None,
                skip_model_load=True,
            )
            made.save(str(folder / f"{name}.mlpackage"))
        return folder / f"{name}.mlpackage"

    make.ct, make.torch = ct, torch
    return make


def test_tensors_are_described_as_core_ml_declares_them(convert):
    facts = describe(convert("half", ios=17))
    assert facts.inputs == (TensorPlan(name="image", shape=(1, 3, 16, 16), dtype="float16"),)
    assert [(o.shape, o.dtype, o.kind) for o in facts.outputs] == [
        ((1, 5), "float16", "tensor"),
        ((1, 5, 7, 7), "float16", "tensor"),
    ]
    assert facts.min_ios == 17
    old = describe(convert("single", ios=15))
    assert (old.inputs[0].dtype, old.min_ios) == ("float32", 15)


def test_classifiers_and_images_are_described(convert):
    torch = convert.torch
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    facts = describe(convert("classifier", module, classifier=["a", "b"], image=True), labels=["a", "b"])
    assert facts.inputs == (TensorPlan(name="image", shape=(1, 3, 16, 16), dtype="uint8", kind="image"),)
    (output,) = facts.outputs
    assert (output.kind, output.shape) == ("probabilities", (1, 2))


def test_flexible_shapes_cannot_be_planned(convert):
    ct = convert.ct
    sides = ct.RangeDim(16, 32, default=16)
    with pytest.raises(ModelError, match="not fixed"):
        describe(convert("flexible", shape=(1, 3, sides, sides)))


def test_a_folder_that_is_no_package_is_refused(tmp_path):
    (tmp_path / "x.mlpackage").mkdir()
    with pytest.raises(ArtifactError):
        describe(tmp_path / "x.mlpackage")


def test_a_real_package_reaches_the_project(convert, tmp_path):
    package = convert("half", ios=17)
    facts = describe(package)
    rng = np.random.default_rng(0)
    model = HarnessModel(
        name="net",
        precision="fp16",
        package=package,
        sha256=tree_sha256(package),
        inputs=facts.inputs,
        outputs=facts.outputs,
        min_ios=facts.min_ios,
        golden_inputs={"image": rng.standard_normal((2, 3, 16, 16))},
        golden_outputs={o.name: rng.standard_normal((2, *o.shape[1:])) for o in facts.outputs},
    )
    root = render([model], tmp_path / "Bench")
    assert tree_sha256(root / "Models/net-fp16.mlpackage") == model.sha256
    document = json.loads((root / "Resources/plan.json").read_text())
    assert len(document["models"][0]["weights_sha256"]) == 64
    assert set(document) == set(load_schema("harness/plan")["properties"])
    assert "IPHONEOS_DEPLOYMENT_TARGET = 17.0;" in (root / "Bench.xcodeproj/project.pbxproj").read_text()


def test_a_bundle_and_the_harness_digest_a_package_alike(convert):
    package = convert("half", ios=17)
    assert artifact_digest(package)[1] == tree_sha256(package)
