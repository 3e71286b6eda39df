"""No byte of a bundle is left out: every file that vouches for others is vouched for itself."""

import json
import shutil

import pytest

from swiftdeploy import bundle
from swiftdeploy.bundle.attestations import ENVELOPE_NAME, VOUCHING
from swiftdeploy.bundle.bom import BOM_NAME
from swiftdeploy.bundle.sums import SUMS_NAME

NAMES = sorted(VOUCHING - {ENVELOPE_NAME})


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_one_byte_of_each_file_in_turn(tiny, damaged):
    for name in files(tiny):
        path = tiny / name
        content = path.read_bytes()
        for index in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[index] ^= 1
            path.write_bytes(changed)
            damaged(tiny, name)
        path.write_bytes(content)
    bundle.read_bundle(tiny)


@pytest.mark.parametrize("name", NAMES)
def test_any_byte_of_what_vouches(pristine, tmp_path, damaged, name):
    folder = shutil.copytree(pristine, tmp_path / "tiny")
    content = (folder / name).read_bytes()
    for index in range(0, len(content), 11):
        changed = bytearray(content)
        changed[index] ^= 0x20
        (folder / name).write_bytes(changed)
        damaged(folder)


def test_each_file_removed_in_turn(tiny, damaged):
    for name in files(tiny):
        content = (tiny / name).read_bytes()
        (tiny / name).unlink()
        damaged(tiny, name)
        (tiny / name).write_bytes(content)
    bundle.read_bundle(tiny)


@pytest.mark.parametrize("name", ["x", "golden/x", "sha256sums", ENVELOPE_NAME, "golden/SHA256SUMS", ".hidden"])
def test_a_file_too_many(tiny, damaged, name):
    (tiny / name).write_text("{}")
    damaged(tiny, name)


def test_every_two_files_swapped(tiny, damaged):
    names = files(tiny)
    for one, two in zip(names, names[1:] + names[:1], strict=True):
        a, b = (tiny / one).read_bytes(), (tiny / two).read_bytes()
        (tiny / one).write_bytes(b)
        (tiny / two).write_bytes(a)
        damaged(tiny)
        (tiny / one).write_bytes(a)
        (tiny / two).write_bytes(b)
    bundle.read_bundle(tiny)


def test_what_an_attacker_must_change_together(tiny, damaged):
    """Each link of the chain alone: a bill with fitting sums is still not the statement's, and so on."""
    (tiny / BOM_NAME).write_text("{}\n")
    bundle.write_sums(tiny)
    damaged(tiny, f"{bundle.STATEMENT_NAME} and the files disagree: {BOM_NAME}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plain: plain["subject"].pop(0), f"the files disagree: {BOM_NAME}"),
        (lambda plain: plain["subject"].append({"name": "ghost", "digest": {"sha256": "0" * 64}}), "ghost"),
        (lambda plain: plain.update(predicateType="https://example.org/other"), "is damaged"),
    ],
)
def test_a_changed_statement_under_fitting_sums(tiny, damaged, change, reason):
    path = tiny / bundle.STATEMENT_NAME
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    bundle.write_sums(tiny)
    damaged(tiny, bundle.STATEMENT_NAME, reason)


def test_sums_in_another_order_or_form(tiny, damaged):
    path = tiny / SUMS_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(reversed(lines)))
    damaged(tiny, "not in order")
    path.write_bytes(b"".join(lines).replace(b"  ", b" *"))
    damaged(tiny, SUMS_NAME)
    path.write_bytes(b"".join(lines) + b"\n")
    damaged(tiny, SUMS_NAME)


@pytest.mark.parametrize("name", [SUMS_NAME, bundle.STATEMENT_NAME])
def test_a_huge_text_is_not_read(tiny, monkeypatch, damaged, name):
    """Bounded in size, so that a hostile bundle cannot fill the memory."""
    limit = max((tiny / each).stat().st_size for each in NAMES)
    monkeypatch.setattr("swiftdeploy.bundle.attestations.SIZE_LIMIT", limit)
    bundle.read_bundle(tiny)
    with (tiny / name).open("ab") as stream:
        stream.write(b" " * limit)
    damaged(tiny, name, "more than it can need")


@pytest.mark.parametrize("content", [b"", b"\xff", b"null", b"[" * 200_000])
def test_a_statement_that_is_none(tiny, damaged, content):
    (tiny / bundle.STATEMENT_NAME).write_bytes(content)
    bundle.write_sums(tiny)
    damaged(tiny, f"{bundle.STATEMENT_NAME} is damaged")


def test_attesting_twice_changes_nothing(tiny):
    before = bundle.records(tiny)
    bundle.attest(tiny, bundle.read_manifest(tiny))
    assert bundle.records(tiny) == before


def test_a_copy_is_changed_and_comes_back_whole(tiny, damaged):
    opened = bundle.read_bundle(tiny)
    with bundle.rewritten(opened) as folder:
        (folder / "golden" / "inputs.safetensors").write_bytes(b"x")
        assert bundle.read_bundle(tiny) == opened
    damaged(tiny, "golden/inputs.safetensors")


def test_a_bundle_that_changed_meanwhile_is_not_rewritten(tiny, forge):
    opened = bundle.read_bundle(tiny)
    forge(tiny, opened.manifest, tool={"swiftdeploy": "0.2.0"})
    before = bundle.records(tiny)
    with pytest.raises(bundle.read.ArtifactError, match="changed while it was read"), bundle.rewritten(opened):
        pytest.fail("it must not be handed out")
    assert bundle.records(tiny) == before
