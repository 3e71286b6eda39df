"""A disk that is full at any stage of a real export: exit 7, two lines, and nothing left on it."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from swiftdeploy.errors import ConversionError
from swiftdeploy.pipeline.scratch import scratch

# Runs in a mount namespace of its own. A bundle needs 0.8 MB for the package, and as much again while it is made.
EXPORTS = """
import os, subprocess, sys
from swiftdeploy.cli.app import run
folder, checkpoint = sys.argv[1:]
wanted = ["-m", "swiftformer_digits", "--attention", "token_l2", "--no-verify", "-q", "-o", folder + "/dist"]
for target, size in (("coreml", "1200k"), ("onnx", "300k"), ("onnx", "710k")):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    code = run(["export", checkpoint, "-t", target, *wanted])
    print(target, size, code, os.listdir(folder), flush=True)
    print("end", file=sys.stderr, flush=True)
    subprocess.run(["umount", folder], check=True)
"""


def test_a_full_disk(tmp_path, digits):
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    folder = tmp_path / "small"
    folder.mkdir()
    command = [*unshare, sys.executable, "-c", EXPORTS, str(folder), str(digits / "swiftformer_digits.pth")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.stdout.splitlines() == [
        "coreml 1200k 7 []",
        "onnx 300k 7 []",
        "onnx 710k 7 []",
    ], done.stderr
    for failure in done.stderr.split("end\n")[:-1]:
        error, hint = failure.splitlines()
        assert "cannot be written" in error
        assert error.endswith("No space left on device")
        assert hint.startswith("hint:  free space")


def test_temporary_files_go_beside_the_bundle_and_with_it(tmp_path):
    before = tempfile.gettempdir()
    with scratch(tmp_path):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            assert file.name.startswith(str(tmp_path))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == before


def fail():
    raise ConversionError("the converter's own words", hint="x")


def test_a_failed_conversion_on_a_disk_with_room_stays_what_it_is(tmp_path):
    with pytest.raises(ConversionError, match="own words"), scratch(tmp_path):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_conversion_on_a_full_disk_is_the_disks(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="No space left"), scratch(tmp_path):
        fail()
