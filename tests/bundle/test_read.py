"""Every way in which a bundle can differ from what was written, each refused with the file's name."""

import dataclasses
import os
import shutil
import socket

import numpy as np
import pytest
from safetensors.numpy import save_file

from swiftdeploy import bundle
from swiftdeploy.bundle.read import load_arrays
from swiftdeploy.errors import ArtifactError

TRAVERSALS = ["../outside", "/etc/passwd", "golden/../../outside", "..", "a\\..\\b", "a\0b", ""]

RESULT = bundle.DeviceRecord(
    path="device/phone.json",
    launch_id="1",
    created_at="2026-01-02T03:04:05Z",
    device="iPhone14,7, iOS 16.0 (20A362)",
    models=("tiny-fp32",),
    allowed=(),
)


def test_a_sound_bundle_reads_back(tiny):
    read = bundle.read_bundle(tiny)
    assert read.manifest.model.name == "tiny"
    assert read.file("labels.txt").read_text() == "no\nyes\n"
    inputs, outputs = read.golden()
    assert inputs["image"].shape == (2, 3, 2, 2)
    assert outputs["logits"].tolist() == [[0.0, 4.0], [12.0, 16.0]]


def test_it_reads_back_from_another_place_and_name(tiny, tmp_path):
    moved = tiny.rename(tmp_path / "renamed")
    assert bundle.read_bundle(moved).manifest == bundle.read_manifest(moved)


def test_any_byte_of_any_file_counts(pristine, tmp_path, damaged):
    folder = shutil.copytree(pristine, tmp_path / "tiny")
    for path in (folder / record.path for record in bundle.read_manifest(folder).files):
        content = path.read_bytes()
        for index in range(0, len(content), 1 if len(content) < 64 else 5):
            flipped = bytearray(content)
            flipped[index] ^= 1
            path.write_bytes(flipped)
            damaged(folder, "changed", path.relative_to(folder).as_posix())
        path.write_bytes(content)
    bundle.read_bundle(folder)


def test_any_byte_of_the_manifest_counts(tiny, damaged):
    path = tiny / bundle.MANIFEST_NAME
    content = path.read_bytes()
    for index in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[index] ^= 1
        path.write_bytes(flipped)
        damaged(tiny, f"tiny/{bundle.MANIFEST_NAME}")


@pytest.mark.parametrize("keep", [0, 1, 17, -1])
def test_truncated(tiny, damaged, keep):
    for name in ("tiny-fp32.onnx", "golden/outputs.safetensors"):
        content = (tiny / name).read_bytes()
        (tiny / name).write_bytes(content[:keep])
        damaged(tiny, "changed", name)
        (tiny / name).write_bytes(content)


def test_grown(tiny, damaged):
    with (tiny / "labels.txt").open("a") as stream:
        stream.write("\n")
    damaged(tiny, "changed labels.txt")


@pytest.mark.parametrize("name", ["labels.txt", "tiny-fp32.mlpackage/Data/model.mlmodel", "golden/inputs.safetensors"])
def test_missing(tiny, damaged, name):
    (tiny / name).unlink()
    damaged(tiny, f"missing {name}")


def test_a_missing_folder_names_all_its_files(tiny, damaged):
    shutil.rmtree(tiny / "golden")
    damaged(tiny, "golden/inputs.safetensors", "golden/outputs.safetensors")


@pytest.mark.parametrize("name", ["extra.txt", "golden/.hidden", "tiny-fp32.mlpackage/Data/evil.dylib"])
def test_foreign(tiny, damaged, name):
    (tiny / name).write_text("x")
    damaged(tiny, f"unexpected {name}")


def test_everything_wrong_at_once_is_one_line(tiny, damaged):
    (tiny / "labels.txt").unlink()
    (tiny / "new.txt").touch()
    (tiny / "tiny-fp32.onnx").write_bytes(b"other")
    error = damaged(tiny, "missing labels.txt", "unexpected new.txt", "changed tiny-fp32.onnx")
    assert "\n" not in error.fact


def test_swapped_files_of_equal_size(tiny, damaged):
    a, b = tiny / "golden" / "inputs.safetensors", tiny / "tiny-fp32.onnx"
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    damaged(tiny, "golden/inputs.safetensors, tiny-fp32.onnx")


@pytest.mark.parametrize("kind", ["link", "broken link", "folder link", "pipe", "socket"])
def test_only_plain_files(tiny, damaged, tmp_path, kind, monkeypatch):
    place = tiny / "golden" / "odd"
    if kind == "link":
        (tiny / "labels.txt").rename(tmp_path / "elsewhere.txt")
        place = tiny / "labels.txt"
        place.symlink_to(tmp_path / "elsewhere.txt")
    elif kind == "broken link":
        place.symlink_to("nowhere")
    elif kind == "folder link":
        place.symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        monkeypatch.chdir(place.parent)  # a socket's path may hold no more than a hundred characters
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("odd")
            damaged(tiny, "odd")
        return
    damaged(tiny, place.relative_to(tiny).as_posix())


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_listed_file_may_not_leave_the_bundle(tiny, damaged, forge, tmp_path, name):
    (tmp_path / "outside").write_text("x")
    manifest = bundle.read_manifest(tiny)
    files = manifest.files
    forge(tiny, manifest, files=(*files, dataclasses.replace(files[0], path=name)))
    damaged(tiny, repr(name), "outside the bundle")


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_other_path_may_leave_it_either(tiny, damaged, forge, name):
    manifest = bundle.read_manifest(tiny)
    forged = [
        {"artifacts": (dataclasses.replace(manifest.artifacts[0], path=name),)},
        {"golden": dataclasses.replace(manifest.golden, inputs=name)},
        {"golden": dataclasses.replace(manifest.golden, outputs=name)},
        {"device": (dataclasses.replace(RESULT, path=name),)},
        {"placement": (dataclasses.replace(manifest.placement[0], artifact=name),)},
        *([{"labels": name}] if name else []),  # no labels is a fact, not a path
    ]
    for change in forged:
        forge(tiny, manifest, **change)
        damaged(tiny, repr(name), "outside the bundle")


@pytest.mark.parametrize("what", ["artifact", "inputs", "labels", "device"])
def test_what_is_described_must_be_listed(tiny, damaged, forge, what):
    manifest = bundle.read_manifest(tiny)
    if what == "artifact":
        forge(tiny, manifest, artifacts=(dataclasses.replace(manifest.artifacts[0], path="other.onnx"),))
    elif what == "labels":
        forge(tiny, manifest, labels="other.txt")
    elif what == "device":
        forge(tiny, manifest, device=(RESULT,))
    else:
        forge(tiny, manifest, golden=dataclasses.replace(manifest.golden, inputs="manifest.json"))
    damaged(tiny, "lists no such file")


def test_a_tree_digest_of_other_files(tiny, damaged, forge):
    forge(tiny, bundle.read_manifest(tiny), tree_sha256="0" * 64)
    damaged(tiny, "tree digest")


def test_a_path_that_is_no_bundle(tmp_path, damaged):
    damaged(tmp_path / "nowhere", "is no folder")
    (tmp_path / "file").touch()
    damaged(tmp_path / "file", "is no folder")
    damaged(tmp_path, "manifest.json", "missing")


def test_golden_data_that_does_not_fit_the_samples(tiny, forge):
    manifest = bundle.read_manifest(tiny)
    for value in (np.zeros((3, 2), np.float32), np.zeros((0, 2), np.float32), np.float32(1)):
        bundle.save_arrays({"logits": np.asarray(value)}, tiny / "golden" / "outputs.safetensors")
        files = bundle.payload_records(tiny)
        forge(tiny, manifest, files=files, tree_sha256=bundle.tree_digest(files))
        with pytest.raises(ArtifactError, match="golden logits has shape"):
            bundle.read_bundle(tiny).golden()


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      ", b"\xff\xff\xff\xff\xff\xff\xff\x7f{"]
)
def test_arrays_that_are_damaged(tmp_path, content):
    path = tmp_path / "golden.safetensors"
    path.write_bytes(content)
    if content.endswith(b"}      "):
        assert load_arrays(path) == {}
        return
    with pytest.raises(ArtifactError, match=r"golden.safetensors is damaged"):
        load_arrays(path)


def test_arrays_of_a_dtype_that_numpy_lacks(tmp_path):
    path = tmp_path / "golden.safetensors"
    save_file({"x": np.zeros(2, np.float16)}, str(path))
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"BAD"'))
    with pytest.raises(ArtifactError, match="damaged"):
        load_arrays(path)


def test_the_order_of_arrays_does_not_change_the_bytes(tmp_path):
    a, b = np.arange(3, dtype=np.float32), np.arange(8, dtype=np.uint8).reshape(2, 4).T
    bundle.save_arrays({"a": a, "b": b}, tmp_path / "one")
    bundle.save_arrays({"b": b, "a": a}, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert np.array_equal(load_arrays(tmp_path / "one")["b"], b)
