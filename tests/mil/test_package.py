"""Folders made by hand: what a package may be, and every way in which it may not."""

import json

import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import package
from swiftdeploy.mil.package import open_package, read_model_bytes, weight_path
from swiftdeploy.mil.weights import open_blobs

ROOT = "00000000-0000-0000-0000-000000000001"


def write(folder, *, path="com.apple.CoreML/model.mlmodel", manifest=None):
    model = folder / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"spec")
    (model.parent / "weights").mkdir()
    (model.parent / "weights" / "weight.bin").write_bytes(b"weights")
    plain = {"itemInfoEntries": {ROOT: {"path": path}}, "rootModelIdentifier": ROOT} if manifest is None else manifest
    (folder / "Manifest.json").write_text(plain if isinstance(plain, str) else json.dumps(plain))
    return folder


def test_a_package(tmp_path):
    opened = open_package(write(tmp_path / "a.mlpackage"))
    assert read_model_bytes(opened) == b"spec"
    assert weight_path(opened, "@model_path/weights/weight.bin").read_bytes() == b"weights"


def test_a_bare_model_file(tmp_path):
    (tmp_path / "bare.mlmodel").write_bytes(b"spec")
    assert read_model_bytes(open_package(tmp_path / "bare.mlmodel")) == b"spec"


def test_a_package_behind_a_link_is_read(tmp_path):
    write(tmp_path / "a.mlpackage")
    (tmp_path / "link.mlpackage").symlink_to(tmp_path / "a.mlpackage")
    opened = open_package(tmp_path / "link.mlpackage")
    assert weight_path(opened, "@model_path/weights/weight.bin").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("manifest", "fact"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "does not name its model"),
        ("{}", "does not name its model"),
        ({"itemInfoEntries": {}, "rootModelIdentifier": ROOT}, "does not name its model"),
        ({"itemInfoEntries": {ROOT: {"path": 3}}, "rootModelIdentifier": ROOT}, "does not name its model"),
        ({"itemInfoEntries": {ROOT: []}, "rootModelIdentifier": ROOT}, "does not name its model"),
        ({"itemInfoEntries": {ROOT: {"path": "a"}}, "rootModelIdentifier": [1]}, "does not name its model"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, manifest, fact):
    with pytest.raises(ArtifactError, match=fact):
        open_package(write(tmp_path / "a.mlpackage", manifest=manifest))


@pytest.mark.parametrize(
    "path", ["../secret", "com.apple.CoreML/../../../secret", "/etc/hostname", "..\\secret", "", "a\0b"]
)
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(ArtifactError, match="leads out of the package"):
        open_package(write(tmp_path / "a.mlpackage", path=path))
    opened = open_package(write(tmp_path / "b.mlpackage"))
    with pytest.raises(ArtifactError, match=r"leads out of the package|no path inside"):
        weight_path(opened, f"@model_path/{path}")


def test_a_path_too_long_for_a_file_system_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"has 5000 characters") as raised:
        open_package(write(tmp_path / "a.mlpackage", path="a" * 5000))
    assert len(raised.value.fact) < 200


@pytest.mark.parametrize("name", ["weights/weight.bin", "/etc/hostname", "@other/weights/weight.bin", ""])
def test_a_weight_file_is_named_from_the_model(tmp_path, name):
    with pytest.raises(ArtifactError, match="no path inside the package"):
        weight_path(open_package(write(tmp_path / "a.mlpackage")), name)


def test_a_link_that_leads_out_is_refused(tmp_path):
    folder = write(tmp_path / "a.mlpackage")
    (tmp_path / "secret").write_bytes(b"secret")
    weights = folder / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    weights.unlink()
    weights.symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="leads out of the package"):
        weight_path(open_package(folder), "@model_path/weights/weight.bin")


def test_a_loop_of_links_is_refused(tmp_path):
    folder = write(tmp_path / "a.mlpackage")
    weights = folder / "Data" / "com.apple.CoreML" / "weights"
    (weights / "loop").symlink_to(weights / "loop")
    with pytest.raises(ArtifactError, match=r"cannot be followed|is missing"):
        open_blobs(weight_path(open_package(folder), "@model_path/weights/loop"))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="no package at"):
        open_package(tmp_path / "nowhere.mlpackage")
    (tmp_path / "empty.mlpackage").mkdir()
    with pytest.raises(ArtifactError, match=r"Manifest\.json cannot be read"):
        open_package(tmp_path / "empty.mlpackage")
    folder = write(tmp_path / "a.mlpackage")
    (folder / "Data" / "com.apple.CoreML" / "model.mlmodel").unlink()
    with pytest.raises(ArtifactError, match="which is not there"):
        open_package(folder)


def test_files_of_absurd_size_are_not_read(tmp_path, monkeypatch):
    opened = open_package(write(tmp_path / "a.mlpackage"))
    monkeypatch.setattr(package, "MAX_MODEL_BYTES", 3)
    with pytest.raises(ArtifactError, match="more than a specification takes"):
        read_model_bytes(opened)
    big = write(tmp_path / "b.mlpackage", manifest=" " * (1 << 20) + "{}")
    with pytest.raises(ArtifactError, match="larger than a manifest"):
        open_package(big)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    opened = open_package(write(tmp_path / "a.mlpackage"))
    opened.model.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_model_bytes(opened)
