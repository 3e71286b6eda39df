"""SHA256SUMS against the tool whose format it is."""

import hashlib
import shutil
import subprocess

import pytest

from swiftdeploy import bundle
from swiftdeploy.bundle.sums import SUMS_NAME, differing, encode_sums

SHA256SUM = shutil.which("sha256sum")
ODD = [
    "plain.txt",
    "two words",
    "ümlaut",
    "back\\slash",
    "new\nline",
    "carriage\rreturn",
    "-dash",
    "*star",
    "\\n",
    "日本",
]

needs_coreutils = pytest.mark.skipif(SHA256SUM is None, reason="the GNU coreutils are not installed")


def check(folder):
    return subprocess.run([SHA256SUM, "-c", "--strict", SUMS_NAME], cwd=folder, capture_output=True, check=False)


@needs_coreutils
def test_coreutils_accept_a_bundle(tiny):
    done = check(tiny)
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(tiny).as_posix() for path in tiny.rglob("*") if path.is_file()}
    checked = {line.removesuffix(": OK") for line in done.stdout.decode().splitlines()}
    assert checked == files - {SUMS_NAME}


@needs_coreutils
@pytest.mark.parametrize("change", ["flip", "remove"])
def test_coreutils_refuse_a_changed_one(tiny, change):
    path = tiny / "golden" / "inputs.safetensors"
    if change == "flip":
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    else:
        path.unlink()
    assert check(tiny).returncode == 1


@needs_coreutils
def test_names_that_need_escapes(tmp_path):
    for name in ODD:
        (tmp_path / name).write_text(name)
    files = bundle.records(tmp_path)
    lines = encode_sums(files)
    names = [record.path for record in files]
    written = subprocess.run([SHA256SUM, "--", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    assert sorted(lines.splitlines()) == sorted(written.splitlines())
    (tmp_path / SUMS_NAME).write_bytes(lines)
    assert check(tmp_path).returncode == 0


def test_lines_are_sorted_and_hold_the_digest(tmp_path):
    for name in ("b", "a/c", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    lines = encode_sums(reversed(bundle.records(tmp_path))).decode().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["a.txt", "a/c", "b"]
    assert lines[2].split("  ")[0] == hashlib.sha256(b"b").hexdigest()


def test_what_differs_is_named(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    files = bundle.records(tmp_path)
    text = encode_sums(files)
    assert differing(files, text) == ()
    assert differing(files, text.replace(b"  b\n", b"  d\n")) == ("b", "d")
    assert differing(files[1:], text) == ("a",)
    assert differing(files, text[64:]) == ("a",)
