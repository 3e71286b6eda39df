"""Packing: the same bytes every time, and what comes out is the bundle. `unzip` is the second opinion."""

import os
import shutil
import subprocess
import zipfile

import pytest

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, ParityError, UsageError
from swiftdeploy.pipeline import pack as module
from swiftdeploy.pipeline.pack import pack
from swiftdeploy.pipeline.verify import verify_bundle


@pytest.fixture(scope="module")
def packed(digits_bundle, tmp_path_factory):
    destination = tmp_path_factory.mktemp("pack") / "digits.zip"
    return pack(digits_bundle, destination), destination


@pytest.fixture
def unverified(monkeypatch):
    """For tests that look at the zip file alone: the numbers were checked above."""
    monkeypatch.setattr(module, "verify_bundle", bundle.read_bundle)


def test_what_comes_out_is_the_bundle(packed, digits_bundle, tmp_path):
    report, path = packed
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    assert bundle.records(tmp_path / "digits") == bundle.records(digits_bundle)
    verify_bundle(tmp_path / "digits")
    assert report.files == len(bundle.records(digits_bundle))
    assert (report.bytes, report.sha256) == (path.stat().st_size, bundle.sha256_of(path))


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_reads_it(packed, digits_bundle, tmp_path):
    subprocess.run(["unzip", "-q", str(packed[1]), "-d", str(tmp_path)], check=True)
    assert bundle.records(tmp_path / "digits") == bundle.records(digits_bundle)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}


def test_the_same_bytes_whatever_the_file_system_says(packed, digits_copy, tmp_path, unverified):
    for index, path in enumerate(sorted(digits_copy.rglob("*"))):
        os.utime(path, (index * 1e6, index * 1e6))
        if path.is_file():
            path.chmod(0o600 if index % 2 else 0o755)
    assert pack(digits_copy, tmp_path / "x.zip").sha256 == packed[0].sha256


def test_entries_are_sorted_dated_and_stored(packed):
    with zipfile.ZipFile(packed[1]) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert all(name.startswith("digits/") for name in names)
    assert "digits/swiftformer_digits-fp16.mlpackage/Data/com.apple.CoreML/weights/weight.bin" in names
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.extra for entry in entries} == {b""}


def test_what_does_not_verify_is_not_packed(digits_copy, tmp_path, refit):
    path = digits_copy / "swiftformer_digits-fp32.onnx"
    with path.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactError, match="changed"):
        pack(digits_copy, tmp_path / "x.zip")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*"))


def test_numbers_count_too(digits_copy, tmp_path, refit):
    import numpy as np

    golden = digits_copy / "golden" / "outputs.safetensors"
    values = bundle.read.load_arrays(golden)
    bundle.save_arrays({name: value + np.float32(1) for name, value in values.items()}, golden)
    refit(digits_copy)
    with pytest.raises(ParityError):
        pack(digits_copy, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_an_existing_file_stays_unless_forced(digits_bundle, tmp_path, unverified):
    (tmp_path / "x.zip").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        pack(digits_bundle, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_text() == "precious"
    assert pack(digits_bundle, tmp_path / "x.zip", force=True).bytes > 1000


@pytest.mark.parametrize("name", ["x.tar", "x", "folder.zip"])
def test_places_that_are_no_zip_file(digits_bundle, tmp_path, name):
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UsageError):
        pack(digits_bundle, tmp_path / name, force=True)


def test_a_dry_run_writes_nothing(digits_bundle, tmp_path, unverified):
    found = pack(digits_bundle, tmp_path / "deep" / "x.zip", dry_run=True)
    assert (found.sha256, found.files) == ("", len(bundle.records(digits_bundle)))
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_changes_meanwhile(digits_copy, tmp_path, monkeypatch, unverified):
    """The bytes that go into the file are the ones that were checked."""
    real = bundle.records(digits_copy)
    (digits_copy / "manifest.json").write_text("{}")
    monkeypatch.setattr(module, "verify_bundle", lambda path: None)
    monkeypatch.setattr(module, "read_bundle", lambda path: bundle.Bundle(path=path, manifest=None))
    monkeypatch.setattr(module, "records", lambda path: real)
    with pytest.raises(ArtifactError, match=r"manifest.json changed while it was read"):
        pack(digits_copy, tmp_path / "x.zip")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".x*"))


def test_a_place_that_cannot_be_written(digits_bundle, tmp_path, unverified):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        pack(digits_bundle, tmp_path / "file" / "x.zip")
