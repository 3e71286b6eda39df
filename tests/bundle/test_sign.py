"""Signatures against two other implementations of DSSE and Ed25519: securesystemslib and OpenSSL."""

import base64
import json
import os
import shutil
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from swiftdeploy import bundle
from swiftdeploy.bundle import sign
from swiftdeploy.errors import ArtifactError, UsageError

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
OPENSSL = shutil.which("openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """(private, public) paths of two keys."""
    folder = tmp_path_factory.mktemp("keys")
    return [(folder / name, sign.new_key(folder / name, passphrase=None, dry_run=False)) for name in ("one", "two")]


@pytest.fixture
def signed(tiny, keys):
    sign.write_envelope(tiny, sign.private_key(keys[0][0], passphrase=None))
    bundle.write_sums(tiny)
    return tiny


def envelope(folder):
    return json.loads((folder / bundle.ENVELOPE_NAME).read_text())


def refused(folder, key, fact):
    with pytest.raises(ArtifactError, match=fact) as caught:
        sign.check_signature(folder, sign.public_key(key))
    assert caught.value.exit_code == 7


def test_a_signature_is_accepted_and_the_bundle_still_verifies(signed, keys):
    bundle.read_bundle(signed)
    key = sign.public_key(keys[0][1])
    assert sign.check_signature(signed, key) == sign.key_id(key)


def test_securesystemslib_accepts_it(signed, keys):
    ours, theirs = (SSlibKey.from_crypto(serialization.load_pem_public_key(public.read_bytes())) for _, public in keys)
    read = Envelope.from_dict(envelope(signed))
    assert read.payload == (signed / bundle.STATEMENT_NAME).read_bytes()
    assert read.payload_type == "application/vnd.in-toto+json"
    ours.keyid = next(iter(read.signatures))
    assert read.verify([ours], 1)
    theirs.keyid = ours.keyid
    with pytest.raises(VerificationError):
        read.verify([theirs], 1)


@pytest.mark.skipif(OPENSSL is None, reason="OpenSSL is not installed")
def test_openssl_accepts_it(signed, keys, tmp_path):
    plain = envelope(signed)
    payload = base64.b64decode(plain["payload"])
    kind = plain["payloadType"].encode()
    (tmp_path / "text").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(plain["signatures"][0]["sig"]))
    line = [OPENSSL, "pkeyutl", "-verify", "-rawin", "-in", tmp_path / "text", "-sigfile", tmp_path / "sig", "-pubin"]
    codes = [subprocess.run([*line, "-inkey", k], check=False, capture_output=True).returncode for _, k in keys]
    assert codes == [0, 1]


def test_signing_alters_nothing_that_is_signed(tiny, keys):
    before = {record.path: record.sha256 for record in bundle.records(tiny)}
    sign.write_envelope(tiny, sign.private_key(keys[0][0], passphrase=None))
    bundle.write_sums(tiny)
    after = {record.path: record.sha256 for record in bundle.records(tiny)}
    assert after.keys() - before.keys() == {bundle.ENVELOPE_NAME}
    assert {name for name in before if before[name] != after[name]} == {"SHA256SUMS"}
    assert set(after) - {bundle.ENVELOPE_NAME, "SHA256SUMS"} == {*bundle_subjects(tiny), bundle.STATEMENT_NAME}


def bundle_subjects(folder):
    return {subject["name"] for subject in json.loads((folder / bundle.STATEMENT_NAME).read_text())["subject"]}


def test_signing_is_deterministic(signed, keys):
    before = (signed / bundle.ENVELOPE_NAME).read_bytes()
    sign.write_envelope(signed, sign.private_key(keys[0][0], passphrase=None))
    assert (signed / bundle.ENVELOPE_NAME).read_bytes() == before


def test_two_keys_sign_one_statement(signed, keys):
    sign.write_envelope(signed, sign.private_key(keys[1][0], passphrase=None))
    assert len(envelope(signed)["signatures"]) == 2
    for _, public in keys:
        sign.check_signature(signed, sign.public_key(public))


def test_signatures_of_another_statement_do_not_stay(signed, keys):
    (signed / bundle.STATEMENT_NAME).write_text("other")
    sign.write_envelope(signed, sign.private_key(keys[1][0], passphrase=None))
    assert len(envelope(signed)["signatures"]) == 1


def test_missing_foreign_and_wrong(tiny, signed, keys):
    refused(signed, keys[1][1], "signed by another key")
    plain = envelope(signed)
    wrong = bytearray(base64.b64decode(plain["signatures"][0]["sig"]))
    wrong[0] ^= 1
    rewrite(signed, plain, signatures=[{**plain["signatures"][0], "sig": base64.b64encode(wrong).decode()}])
    refused(signed, keys[0][1], "the signature is wrong")
    (signed / bundle.ENVELOPE_NAME).unlink()
    refused(signed, keys[0][1], "is not signed")


def test_a_foreign_signature_under_our_keys_name(signed, keys):
    """The id in the envelope is anybody's to write; it opens nothing."""
    plain = envelope(signed)
    sign.write_envelope(signed, sign.private_key(keys[1][0], passphrase=None))
    foreign = next(s for s in envelope(signed)["signatures"] if s["keyid"] != plain["signatures"][0]["keyid"])
    rewrite(signed, plain, signatures=[{**foreign, "keyid": plain["signatures"][0]["keyid"]}])
    refused(signed, keys[0][1], "the signature is wrong")


def test_a_sound_signature_of_another_bundle(signed, keys):
    statement = signed / bundle.STATEMENT_NAME
    statement.write_text(statement.read_text().replace("größe.pth", "other.pth"))
    refused(signed, keys[0][1], "of another statement")


def rewrite(folder, plain, **changes):
    (folder / bundle.ENVELOPE_NAME).write_text(json.dumps({**plain, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"payloadType": "text/plain"},
        {"payload": "%%%"},
        {"signatures": None},
        {"signatures": [{}]},
        {"signatures": ["x"]},
        {"payload": 3},
    ],
)
def test_an_envelope_that_is_none(signed, keys, changes):
    rewrite(signed, envelope(signed), **changes)
    refused(signed, keys[0][1], "is damaged")


@pytest.mark.parametrize("content", [b"", b"null", b"\xff", b"[" * 100_000])
def test_text_that_is_no_envelope(signed, keys, content):
    (signed / bundle.ENVELOPE_NAME).write_bytes(content)
    refused(signed, keys[0][1], "is damaged")


@pytest.mark.parametrize("entries", [[], [{"keyid": "", "sig": "%"}], [{"keyid": "", "sig": "AAAA"}]])
def test_no_sound_signature_among_them(signed, keys, entries):
    rewrite(signed, envelope(signed), signatures=entries)
    refused(signed, keys[0][1], "another key")


def test_a_new_key_is_private_from_its_first_moment(tmp_path, monkeypatch):
    modes = []
    real = os.open

    def watched(path, flags, mode=0o777):
        descriptor = real(path, flags, mode)
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        public = sign.new_key(tmp_path / "key", passphrase=None, dry_run=False)
    finally:
        os.umask(before)
    assert modes == [0o600, 0o644]
    assert b"PRIVATE" in (tmp_path / "key").read_bytes()
    assert b"PRIVATE" not in public.read_bytes()


@pytest.mark.parametrize("taken", ["key", "key.pub"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_keys_are_never_overwritten(tmp_path, taken, dry_run):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(UsageError, match=f"{taken} exists already"):
        sign.new_key(tmp_path / "key", passphrase=None, dry_run=dry_run)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_a_dangling_link_is_no_free_name(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        sign.new_key(tmp_path / "key", passphrase=None, dry_run=False)
    assert not (tmp_path / "nowhere").exists()


def test_a_dry_run_makes_no_key(tmp_path):
    assert sign.new_key(tmp_path / "key", passphrase=None, dry_run=True) == tmp_path / "key.pub"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be written"):
        sign.new_key(tmp_path / "none" / "key", passphrase=None, dry_run=False)


def test_a_passphrase_protects(tmp_path):
    path = tmp_path / "key"
    sign.new_key(path, passphrase=b"open", dry_run=False)
    assert b"ENCRYPTED" in path.read_bytes()
    sign.private_key(path, passphrase=b"open")
    with pytest.raises(UsageError, match="protected by a passphrase"):
        sign.private_key(path, passphrase=None)
    with pytest.raises(UsageError, match="passphrase is wrong") as caught:
        sign.private_key(path, passphrase=b"shut")
    assert "shut" not in str(caught.value)


def test_a_passphrase_that_is_not_needed(keys):
    with pytest.raises(UsageError, match="has no passphrase"):
        sign.private_key(keys[0][0], passphrase=b"x")


def test_files_that_hold_no_such_key(tmp_path, keys):
    other = tmp_path / "ec"
    key = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    with pytest.raises(UsageError, match="no Ed25519"):
        sign.private_key(other, passphrase=None)
    other.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError, match="no Ed25519"):
        sign.public_key(other)
    other.write_text("garbage with a secret")
    for read in (sign.public_key, lambda path: sign.private_key(path, passphrase=None)):
        with pytest.raises(UsageError, match=r"no (public|private) key") as caught:
            read(other)
        assert "secret" not in str(caught.value)
        with pytest.raises(UsageError, match="cannot be read"):
            read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a private key"):
        sign.public_key(keys[0][0])


def test_openssls_keys_are_read_and_ours_are_standard(keys):
    read = serialization.load_pem_private_key(keys[0][0].read_bytes(), password=None)
    assert isinstance(read, ed25519.Ed25519PrivateKey)
    assert sign.key_id(read.public_key()) == sign.key_id(sign.public_key(keys[0][1]))
