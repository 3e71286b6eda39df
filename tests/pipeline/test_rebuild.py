"""A bundle is made again from what it records, and every byte is compared."""

import dataclasses
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from swiftdeploy import bundle
from swiftdeploy.bundle import sign
from swiftdeploy.errors import ArtifactError, CheckpointError, UsageError
from swiftdeploy.pipeline import rebuild as module
from swiftdeploy.pipeline.device import import_result
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.rebuild import rebuild
from swiftdeploy.pipeline.request import ExportRequest, ExportResult
from swiftdeploy.pipeline.signing import signer
from swiftdeploy.spec import ExportOptions

NAME = "swiftformer_digits.pth"
ONNX = "swiftformer_digits-fp32.onnx"
PACKAGE = "swiftformer_digits-fp16.mlpackage"


@pytest.fixture(scope="module")
def small(digits_request, tmp_path_factory):
    """The digits as one Core ML package and one ONNX file, unverified: the least that has every kind of part."""
    folder = tmp_path_factory.mktemp("rebuild") / "digits"
    export(digits_request(folder, targets=("coreml", "onnx"), precisions=("fp16", "fp32"), verify=False))
    return folder


@pytest.fixture
def copy(small, tmp_path):
    return shutil.copytree(small, tmp_path / "digits")


@pytest.fixture
def weights(digits):
    return str(digits / NAME)


@pytest.fixture
def made(small, monkeypatch):
    """What a sound export gives, without waiting for it: only the comparison is looked at."""
    requests = []

    def instead(request):
        requests.append(request)
        shutil.copytree(small, request.destination)
        return ExportResult(bundle=request.destination, manifest=bundle.read_manifest(small), seconds={})

    monkeypatch.setattr(module, "export", instead)
    return requests


def refused(folder, weights, *parts):
    with pytest.raises(ArtifactError) as caught:
        rebuild(folder, weights)
    assert caught.value.exit_code == 7
    for part in parts:
        assert part in caught.value.fact, caught.value.fact
    return caught.value


def test_the_same_bytes_also_with_what_came_later(copy, digits, phone, tmp_path):
    """A checkpoint of another name: the real export. A device's result and a signature are copied, and not counted."""
    exported = {record.path for record in bundle.records(copy)}
    plan = phone.plan_of(copy)
    result = phone.write(phone.run(plan), tmp_path / "result.json")
    import_result([result], copy)
    sign.new_key(tmp_path / "key", passphrase=None, dry_run=False)
    signer(tmp_path / "key")(copy)
    other = shutil.copyfile(digits / NAME, tmp_path / "best.pth")
    before = bundle.records(copy)
    found = rebuild(copy, str(other))
    assert found.files == len(exported)
    assert set(found.taken_over) == {record.path for record in before} - exported
    assert [name.partition("/")[0] for name in found.taken_over] == ["device", bundle.ENVELOPE_NAME]
    assert bundle.records(copy) == before


def test_untrained_weights_come_from_their_seed(tmp_path):
    options = ExportOptions(targets=("onnx",), precisions=("fp32",), verify=False, ort=True)
    request = ExportRequest(
        model="swiftformer_digits", untrained=3, attention="sum", destination=tmp_path / "b", options=options
    )
    export(request)
    found = rebuild(tmp_path / "b")
    assert found.taken_over == ("swiftformer_digits-fp32.ort",)
    assert found.files == len(bundle.records(tmp_path / "b")) - 1
    with pytest.raises(UsageError, match="made from a seed"):
        rebuild(tmp_path / "b", "x.pth")


def test_other_weights_of_the_same_shape(copy, made, weights, refit):
    model = onnx.load(copy / ONNX)
    tensor = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
    onnx.save(model, copy / ONNX)
    refit(copy)
    error = refused(copy, weights, f"{ONNX} (weights)")
    assert "do not trust" in error.hint
    assert "manifest" not in error.fact


@pytest.mark.parametrize(
    ("inner", "part"),
    [
        ("Data/com.apple.CoreML/weights/weight.bin", "weights"),
        ("Data/com.apple.CoreML/model.mlmodel", "program"),
        ("Manifest.json", "Manifest.json"),
    ],
)
def test_a_package_says_which_part(copy, made, weights, refit, inner, part):
    with (copy / PACKAGE / inner).open("ab") as stream:
        stream.write(b"\n")
    refit(copy)
    refused(copy, weights, f"{PACKAGE} ({part})")


def test_an_onnx_program(copy, made, weights, refit):
    model = onnx.load(copy / ONNX)
    model.producer_version = "other"
    onnx.save(model, copy / ONNX)
    refit(copy)
    refused(copy, weights, f"{ONNX} (program)")


def test_a_file_that_an_export_does_not_write(copy, made, weights, refit):
    (copy / "golden" / "more.bin").write_bytes(b"x")
    refit(copy)
    refused(copy, weights, "golden/more.bin (missing)")


def test_versions_that_moved_are_named(copy, made, weights, refit):
    manifest = bundle.read_manifest(copy)
    refit(copy, tool={**manifest.tool, "torch": "1.0"})
    error = refused(copy, weights, "manifest.json (tool)", f"torch was 1.0, is {manifest.tool['torch']}")
    assert "versions" in error.hint


def test_code_that_moved_is_named(copy, made, weights, refit):
    manifest = bundle.read_manifest(copy)
    refit(copy, recipe=dataclasses.replace(manifest.recipe, code="0" * 64))
    error = refused(copy, weights, "manifest.json (recipe)")
    assert "code" in error.hint


def test_a_forged_figure_is_found(copy, made, weights, refit):
    """The bytes are intact and the seal fits; only doing it again shows that nobody measured this."""
    manifest = bundle.read_manifest(copy)
    refit(copy, model=dataclasses.replace(manifest.model, parameters=1))
    refused(copy, weights, "manifest.json (model)")


def test_a_tampered_bundle_is_not_even_rebuilt(copy, made, weights):
    (copy / ONNX).write_bytes(b"x")
    refused(copy, weights, "changed", ONNX)
    assert made == []


def test_another_checkpoint(copy, made, tmp_path, digits):
    import torch

    state = torch.load(digits / NAME, weights_only=True)
    state["model"] = {key: value * 1.5 if value.is_floating_point() else value for key, value in state["model"].items()}
    torch.save(state, tmp_path / NAME)
    with pytest.raises(CheckpointError, match="is not what digits was made from") as caught:
        rebuild(copy, str(tmp_path / NAME))
    assert caught.value.exit_code == 4
    assert made == []


def test_the_checkpoint_is_looked_for_beside_and_here(copy, made, digits, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=f"{NAME} is neither beside"):
        rebuild(copy)
    shutil.copyfile(digits / NAME, tmp_path / "elsewhere" / NAME)
    rebuild(copy)
    (tmp_path / "elsewhere" / NAME).rename(copy.parent / NAME)
    rebuild(copy)
    assert [str(request.checkpoint) for request in made] == [
        str(tmp_path / "elsewhere" / NAME),
        str(copy.parent.resolve() / NAME),
    ]


def test_a_bundle_alone_makes_no_code_run(copy, made, weights, refit, tmp_path):
    """A factory with arguments is a command: who rebuilds a stranger's bundle must have said that name."""
    manifest = bundle.read_manifest(copy)
    recipe = dataclasses.replace(manifest.recipe, model="os:mkdir", arguments={"path": str(tmp_path / "pwned")})
    refit(copy, recipe=recipe)
    with pytest.raises(UsageError, match=r"outside the catalog: os:mkdir with .*pwned"):
        rebuild(copy, weights)
    with pytest.raises(UsageError, match="was made from os:mkdir"):
        rebuild(copy, weights, model="swiftformer_digits")
    assert made == []
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(ArtifactError, match=r"manifest.json \(recipe\)"):
        rebuild(copy, weights, model="os:mkdir")
    assert made[0].model == "os:mkdir"


@pytest.mark.parametrize("source", ["../outside.pth", "/etc/passwd", "a/b.pth", "..", ".", ""])
def test_a_checkpoints_name_is_no_path(copy, made, digits, tmp_path, refit, source):
    manifest = bundle.read_manifest(copy)
    refit(copy, provenance=dataclasses.replace(manifest.provenance, source=source))
    other = shutil.copyfile(digits / NAME, tmp_path / "best.pth")
    for given in (None, str(other)):
        with pytest.raises(ArtifactError, match="names a checkpoint"):
            rebuild(copy, given)
    assert made == []


def test_nothing_is_fetched_because_a_bundle_says_so(copy, made, weights, refit):
    manifest = bundle.read_manifest(copy)
    refit(copy, provenance=dataclasses.replace(manifest.provenance, source="hf-hub:org/name"))
    with pytest.raises(UsageError, match="from the hub"):
        rebuild(copy)
    with pytest.raises(UsageError, match="was made from hf-hub:org/name"):
        rebuild(copy, weights)
    assert made == []


def test_nothing_stays_behind(copy, made, weights, tmp_path, monkeypatch):
    import tempfile

    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    rebuild(copy, weights)
    assert list((tmp_path / "scratch").iterdir()) == []
