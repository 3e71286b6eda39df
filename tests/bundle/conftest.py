"""A bundle of a few hundred bytes, with everything that a real one has and artifacts that only hashing looks at."""

import dataclasses
import shutil

import numpy as np
import pytest

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import (
    Cost,
    Coverage,
    EnginePrediction,
    Finding,
    Hit,
    KeyReport,
    Leg,
    OutputParity,
    ParityReport,
    PlacementRecord,
    Provenance,
    RewriteRecord,
    Segment,
    WeightParity,
)
from swiftdeploy.spec import Metadata, Preprocessing, TensorSpec

IMAGE = TensorSpec(name="image", shape=(1, 3, 2, 2))
LOGITS = TensorSpec(name="logits", shape=(1, 2))
SAMPLES = ("natural_0", "constant_0")


def parity(subject):
    output = OutputParity(
        name="logits", psnr_db=None, relative_l2=0.0, cosine=1.0, max_abs=0.0, samples=2, verdict="pass", top1=1.0
    )
    legs = (
        Leg(name="outputs", verdict="pass", outputs=(output,)),
        Leg(name="weights", verdict="pass", weights=WeightParity(tensors=3, equal=3)),
    )
    return ParityReport(subject=subject, precision="fp32", gate_db=100.0, legs=legs)


def artifact(folder, name, target):
    size, digest = bundle.artifact_digest(folder / name)
    return bundle.ArtifactRecord(
        path=name,
        target=target,
        precision="fp32",
        bytes=size,
        sha256=digest,
        options={"opset": 20},
        inputs=(IMAGE,),
        outputs=("logits",),
        ops={"conv": 2},
        parity=parity(name),
    )


def placement(name):
    hit = Hit(op="stem", type="conv", reason="x is fp32")
    finding = Finding(
        rule="ane-fp32",
        severity="error",
        says="float32",
        origin="Apple",
        source="a guide",
        confidence="high",
        remedy="fp16",
        hits=(hit,),
    )
    return PlacementRecord(
        artifact=name,
        neural_engine=EnginePrediction(
            verdict="ineligible",
            ops={"eligible": 1, "risky": 0, "ineligible": 1},
            severities={"note": 0, "warning": 0, "error": 1},
            layout_ops=0,
            fp16_share=0.5,
            findings=(finding,),
            segments=(Segment(verdict="ineligible", first="stem", last="stem", ops=1),),
            switches=0,
        ),
        providers=(Coverage(provider="p", source="s", nodes=2, taken=1, partitions=1, declined={"Conv: why": 1}),),
        cost=Cost(macs=10, weight_bytes=4, activation_bytes=1, intensity=2.0),
    )


def describe(folder):
    """The manifest of whatever lies in the folder."""
    files = bundle.payload_records(folder)
    return bundle.Manifest(
        schema=1,
        tool={"swiftdeploy": "0.1.0"},
        model=bundle.ModelRecord(name="tiny", factory="nets:tiny", family="custom", parameters=9),
        recipe=bundle.RequestRecord(model="nets:tiny", options={"batch": 1}, code="11" * 32),
        provenance=Provenance(
            weights="trained", source="größe.pth", sha256="00" * 32, format="safetensors", keys=KeyReport(loaded=3)
        ),
        input_kind="tensor",
        inputs=(IMAGE,),
        outputs=(LOGITS,),
        preprocessing=Preprocessing(resize=2, crop=2),
        metadata=Metadata(author="someone"),
        labels="labels.txt",
        fusion=(RewriteRecord(name="batch_norm_after", algebra="W' = gW", fired=("stem",), declined={"head": "why"}),),
        fusion_parity=parity("fused graph"),
        ops_before={"conv": 2, "batch_norm": 1},
        ops_after={"conv": 2},
        artifacts=(artifact(folder, "tiny-fp32.mlpackage", "coreml"), artifact(folder, "tiny-fp32.onnx", "onnx")),
        golden=bundle.GoldenRecord(
            inputs="golden/inputs.safetensors", outputs="golden/outputs.safetensors", samples=SAMPLES
        ),
        placement=(placement("tiny-fp32.mlpackage"),),
        files=files,
        tree_sha256=bundle.tree_digest(files),
    )


def fill(folder):
    (folder / "tiny-fp32.mlpackage" / "Data").mkdir(parents=True)
    (folder / "tiny-fp32.mlpackage" / "Manifest.json").write_text("{}\n")
    (folder / "tiny-fp32.mlpackage" / "Data" / "model.mlmodel").write_bytes(bytes(range(40)))
    (folder / "tiny-fp32.onnx").write_bytes(b"onnx" * 5)
    (folder / "labels.txt").write_text("no\nyes\n")
    (folder / "golden").mkdir()
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    bundle.save_arrays({"image": values}, folder / "golden" / "inputs.safetensors")
    bundle.save_arrays({"logits": values[:, :2, 0, 0]}, folder / "golden" / "outputs.safetensors")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    folder.mkdir()
    fill(folder)
    bundle.attest(folder, describe(folder))
    return folder


@pytest.fixture
def tiny(pristine, tmp_path):
    """A copy to tamper with."""
    return shutil.copytree(pristine, tmp_path / "tiny")


@pytest.fixture
def forge():
    """forge(bundle, manifest, **changes) writes the manifest as an attacker would: changed, and all else fits it."""

    def rewrite(folder, manifest, **changes):
        bundle.attest(folder, dataclasses.replace(manifest, **changes))

    return rewrite


@pytest.fixture
def damaged():
    """damaged(bundle, *parts) checks that reading is refused with exit 7, in one line that holds every part."""

    def check(folder, *parts):
        with pytest.raises(ArtifactError) as caught:
            bundle.read_bundle(folder)
        assert caught.value.exit_code == 7
        assert caught.value.hint
        for part in parts:
            assert part in caught.value.fact, caught.value.fact
        return caught.value

    return check
