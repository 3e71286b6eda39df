"""Signing whole bundles, and where a passphrase may come from."""

import json

import pytest

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.pipeline.device import import_result
from swiftdeploy.pipeline.signing import make_key, read_passphrase, signer, verify_signature


@pytest.fixture
def key(tmp_path):
    public = make_key(tmp_path / "key")
    return tmp_path / "key", public


def test_a_signed_bundle_verifies_by_its_key(digits_copy, key):
    before = bundle.read_bundle(digits_copy)
    signed = signer(key[0])(digits_copy)
    assert verify_signature(digits_copy, key[1]) == signed.key
    assert bundle.read_bundle(digits_copy) == before
    assert (digits_copy / signed.envelope).is_file()
    private = key[0].read_bytes().splitlines()[1]
    assert not [path for path in digits_copy.rglob("*") if path.is_file() and private in path.read_bytes()]


def test_a_byte_changed_after_signing(digits_copy, key):
    signer(key[0])(digits_copy)
    for name in (bundle.ENVELOPE_NAME, "golden/inputs.safetensors", bundle.STATEMENT_NAME):
        content = (digits_copy / name).read_bytes()
        (digits_copy / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        with pytest.raises(ArtifactError) as caught:
            bundle.read_bundle(digits_copy)
        assert name in caught.value.fact
        with pytest.raises(ArtifactError):
            verify_signature(digits_copy, key[1])
        (digits_copy / name).write_bytes(content)
    verify_signature(digits_copy, key[1])


def test_whoever_makes_everything_fit_still_lacks_the_key(digits_copy, key, refit):
    """Without the signature this bundle is sound: the hashes are the attacker's own."""
    signer(key[0])(digits_copy)
    (digits_copy / "golden" / "more").write_text("x")
    refit(digits_copy)
    bundle.read_bundle(digits_copy)
    with pytest.raises(ArtifactError, match="of another statement"):
        verify_signature(digits_copy, key[1])


def test_a_damaged_bundle_is_not_signed(digits_copy, key):
    (digits_copy / "golden" / "more").write_text("x")
    with pytest.raises(ArtifactError, match="unexpected golden/more"):
        signer(key[0])(digits_copy)
    assert not (digits_copy / bundle.ENVELOPE_NAME).exists()


def test_a_dry_run_signs_nothing(digits_copy, key):
    before = bundle.records(digits_copy)
    assert len(signer(key[0], dry_run=True)(digits_copy).key) == 64
    assert bundle.records(digits_copy) == before


def test_results_that_come_later_take_the_signature_away(digits_copy, key, phone, tmp_path, capsys):
    """They are subjects of a new statement; the old signature says nothing of it, and must not seem to."""
    signer(key[0])(digits_copy)
    plan = phone.plan_of(digits_copy)
    (found,) = import_result([phone.write(phone.run(plan), tmp_path / "result.json")], digits_copy)
    assert "sign it again" in capsys.readouterr().err
    bundle.read_bundle(digits_copy)
    stated = json.loads((digits_copy / bundle.STATEMENT_NAME).read_text())["subject"]
    assert found.stored in {subject["name"] for subject in stated}
    with pytest.raises(ArtifactError, match="is not signed"):
        verify_signature(digits_copy, key[1])
    signer(key[0])(digits_copy)
    verify_signature(digits_copy, key[1])


def test_where_a_passphrase_comes_from(tmp_path, monkeypatch):
    monkeypatch.setenv("PASS", "open sesame")
    (tmp_path / "file").write_text("open sesame\nmore\n")
    assert read_passphrase(variable="PASS", file=None) == b"open sesame"
    assert read_passphrase(variable=None, file=tmp_path / "file") == b"open sesame"
    assert read_passphrase(variable=None, file=None) is None


def test_passphrases_that_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PASS", "")
    (tmp_path / "empty").touch()
    for given in (
        {"variable": "PASS", "file": None},
        {"variable": "NO_SUCH_VARIABLE", "file": None},
        {"variable": None, "file": tmp_path / "empty"},
    ):
        with pytest.raises(UsageError, match="holds no passphrase"):
            read_passphrase(**given)
    with pytest.raises(UsageError, match="cannot be read"):
        read_passphrase(variable=None, file=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="two sources"):
        read_passphrase(variable="PASS", file=tmp_path / "empty")
