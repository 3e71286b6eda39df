"""Digests against `sha256sum` itself."""

import shutil
import subprocess

import pytest

from swiftdeploy.harness.digest import file_sha256, tree_sha256


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "x.mlpackage"
    for name, text in {"Manifest.json": "{}", "Data/a.bin": "alpha", "Data/b/c": "", "Data-x": "é"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not on the PATH")
def test_a_tree_is_what_sha256sum_says(tree):
    script = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", script], cwd=tree, capture_output=True, text=True, check=True)
    assert tree_sha256(tree) == done.stdout.split()[0]


def test_a_file_is_what_sha256sum_says(tree):
    assert file_sha256(tree / "Data/b/c") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_change_shows(tree):
    before = tree_sha256(tree)
    (tree / "Data/a.bin").write_text("alphb")
    changed = tree_sha256(tree)
    (tree / "Data/a.bin").write_text("alpha")
    assert tree_sha256(tree) == before != changed
    (tree / "Data/a.bin").rename(tree / "Data/a.bim")
    assert tree_sha256(tree) not in {before, changed}
    (tree / "empty").mkdir()
    (tree / "Data/a.bim").rename(tree / "Data/a.bin")
    assert tree_sha256(tree) == before  # folders alone have no bytes
