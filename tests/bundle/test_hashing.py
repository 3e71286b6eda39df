"""Digests as other tools compute them."""

import hashlib
import shutil
import subprocess

import pytest

from swiftdeploy.bundle import artifact_digest, records, sha256_of, tree_digest
from swiftdeploy.bundle.hashing import inside
from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import FileRecord


def test_a_file_longer_than_one_read(tmp_path):
    content = bytes(range(256)) * 4097  # a MiB and 256 bytes
    (tmp_path / "f").write_bytes(content)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()
    assert artifact_digest(tmp_path / "f") == (len(content), hashlib.sha256(content).hexdigest())


def test_records_are_sorted_as_text_whatever_the_folders(tmp_path):
    for name in ("b/x", "a-b", "a/z", "a0", "B"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = records(tmp_path, leave_out=frozenset({"B"}))
    assert [record.path for record in found] == ["a-b", "a/z", "a0", "b/x"]
    assert [record.bytes for record in found] == [3, 3, 2, 3]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_the_tree_digest_is_what_a_shell_computes(pristine):
    """Independent of our code: find, sort, sha256sum, and the sum of its lines."""
    script = "find . -type f ! -name manifest.json | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", script], cwd=pristine, capture_output=True, text=True, check=True)
    found = records(pristine, leave_out=frozenset({"manifest.json"}))
    assert tree_digest(found) == done.stdout.split()[0]


def test_the_tree_digest_knows_names_contents_and_no_order():
    a, b = FileRecord(path="a", bytes=1, sha256="1"), FileRecord(path="b", bytes=1, sha256="2")
    assert tree_digest([a, b]) == tree_digest([b, a])
    swapped = [FileRecord(path="a", bytes=1, sha256="2"), FileRecord(path="b", bytes=1, sha256="1")]
    assert tree_digest([a, b]) != tree_digest(swapped)
    assert tree_digest([a]) != tree_digest([a, b])


def test_a_package_is_hashed_as_a_tree(pristine):
    package = pristine / "tiny-fp32.mlpackage"
    assert artifact_digest(package) == (43, tree_digest(records(package)))


@pytest.mark.parametrize("name", ["a", "a/b", "golden/inputs.safetensors", "...", "a..b"])
def test_names_inside(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", "..", "../a", "/a", "a/../../b", "a\\b", "a\0"])
def test_names_outside(tmp_path, name):
    with pytest.raises(ArtifactError, match="outside the bundle"):
        inside(tmp_path, name)
