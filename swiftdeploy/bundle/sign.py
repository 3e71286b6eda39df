"""Signatures with a key file: Ed25519 over a bundle's statement, in a DSSE envelope beside it.

A signature adds the envelope and counts it in SHA256SUMS; what is signed stays as it is. Keys are PEM: PKCS #8 for the
private one, SubjectPublicKeyInfo for the public one, as OpenSSL writes them. Sources: DSSE v1 (envelope, pre-
authentication encoding), RFC 8032. Imports cryptography: take this module late.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swiftdeploy.bundle.attestations import ENVELOPE_NAME
from swiftdeploy.bundle.manifest import SIZE_LIMIT
from swiftdeploy.bundle.statement import STATEMENT_NAME
from swiftdeploy.errors import ArtifactError, UsageError, importing
from swiftdeploy.seal import canonical

with importing("signatures need the library cryptography", hint="pip install cryptography"):
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_KEY_LIMIT = 1 << 16  # bytes; an Ed25519 key in PEM has some 120, an encrypted one some 320
_TAKEN = "keys are never overwritten; choose another name"
_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


def new_key(path: Path, *, passphrase: bytes | None, dry_run: bool) -> Path:
    """Write a new private key (mode 0600) and its public key beside it, whose path is the answer (`path`.pub).

    Raises UsageError where either file exists, ArtifactError where the disk refuses. `dry_run` writes nothing.
    """
    public = path.with_name(path.name + ".pub")
    for taken in (path, public):
        if taken.exists() or taken.is_symlink():
            raise UsageError(f"{taken} exists already", hint=_TAKEN)
    if dry_run:
        return public
    key = Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    _create(path, private, _PRIVATE_MODE)
    try:
        _create(public, _public_pem(key.public_key()), _PUBLIC_MODE)
    except (ArtifactError, UsageError):
        path.unlink()
        raise
    return public


def private_key(path: Path, *, passphrase: bytes | None) -> Ed25519PrivateKey:
    """The key in a PEM file. Raises UsageError where it is no Ed25519 key or the passphrase does not open it."""
    hint = "make one with: swiftdeploy sign --new-key FILE"
    try:
        key = serialization.load_pem_private_key(_read_key(path), password=passphrase)
    except TypeError as error:  # given where none is needed, or needed where none is given
        said = "has no passphrase, and one was given" if passphrase else "is protected by a passphrase"
        raise UsageError(f"{path} {said}", hint="see --passphrase-env and --passphrase-file") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # The library's own words may quote the file; ours do not.
        raise UsageError(f"{path} is no private key in PEM, or the passphrase is wrong", hint=hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key", hint=hint)
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises UsageError where it is no Ed25519 public key."""
    hint = "give the .pub file that swiftdeploy sign --new-key wrote"
    data = _read_key(path)
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{path} is a private key", hint=hint)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no public key in PEM", hint=hint) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 key", hint=hint)
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The sha256 of a public key (SubjectPublicKeyInfo, DER) in hex: which key, for people; never a reason to trust."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def write_envelope(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the statement in `folder`. Other keys' signatures of the same statement stay."""
    payload = (folder / STATEMENT_NAME).read_bytes()
    name = key_id(key.public_key())
    signature = {"keyid": name, "sig": _base64(key.sign(_encoded(payload)))}
    others = [old for old in _others(folder, payload) if old["keyid"] != name]
    envelope = {
        "payload": _base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": sorted([signature, *others], key=lambda entry: entry["keyid"]),
    }
    (folder / ENVELOPE_NAME).write_text(canonical(envelope), encoding="utf-8")


def check_signature(folder: Path, key: Ed25519PublicKey) -> str:
    """The id of `key` where it signed the statement in `folder`. Raises ArtifactError where it did not."""
    if not (folder / ENVELOPE_NAME).is_file():
        raise ArtifactError(f"{folder.name} is not signed", hint="swiftdeploy sign BUNDLE --key FILE signs it")
    payload, signatures = _read_envelope(folder)
    if payload != (folder / STATEMENT_NAME).read_bytes():
        raise ArtifactError(f"{folder.name}: the signature is of another statement", hint="do not trust this bundle")
    encoded = _encoded(payload)
    # A key's id is a hint that anybody may write: every signature is tried.
    for entry in signatures:
        try:
            key.verify(base64.b64decode(entry["sig"], validate=True), encoded)
        except (InvalidSignature, binascii.Error):
            continue
        return key_id(key)
    claimed = any(entry["keyid"] == key_id(key) for entry in signatures)
    fact = "the signature is wrong" if claimed else "it is signed by another key"
    raise ArtifactError(f"{folder.name}: {fact}", hint="do not trust this bundle, or give the signer's public key")


def _read_envelope(folder: Path) -> tuple[bytes, list[Mapping[str, str]]]:
    """(payload, signatures) of the envelope in `folder`. Raises ArtifactError where it is none."""
    path = folder / ENVELOPE_NAME
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ValueError("it is too large")
        plain: Any = json.loads(path.read_bytes())
        if plain["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"it holds {str(plain['payloadType'])[:80]!r}")
        entries: list[Mapping[str, str]] = [
            {"keyid": str(entry.get("keyid", "")), "sig": str(entry["sig"])} for entry in plain["signatures"]
        ]
        return base64.b64decode(plain["payload"], validate=True), entries
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{folder.name}/{ENVELOPE_NAME} is damaged: {error}", hint="sign the bundle again"
        ) from error


def _others(folder: Path, payload: bytes) -> list[Mapping[str, str]]:
    if not (folder / ENVELOPE_NAME).is_file():
        return []
    signed, signatures = _read_envelope(folder)
    return signatures if signed == payload else []


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed, so that type and text cannot be confused."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_KEY_LIMIT)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint="name a key file") from error


def _create(path: Path, content: bytes, mode: int) -> None:
    """A new file with this mode from its first moment. Raises UsageError where the name is taken."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint=_TAKEN) from error
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror or error}", hint="choose a folder that you may write to"
        ) from error
