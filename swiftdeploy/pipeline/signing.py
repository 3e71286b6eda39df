"""Sign a bundle with a key file, and check who signed one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import ENVELOPE_NAME, read_bundle, rewritten, sign, write_sums
from swiftdeploy.errors import UsageError

Sign = Callable[[Path], "Signed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A signed bundle: where the envelope lies in it, and the id of the key (sha256 of the public key)."""

    path: str
    envelope: str
    key: str


def make_key(path: Path, *, passphrase: bytes | None = None, dry_run: bool = False) -> Path:
    """Write a new private key and, beside it, the public one, whose path is the answer. Raises UsageError."""
    return sign.new_key(path, passphrase=passphrase, dry_run=dry_run)


def signer(key: Path, *, passphrase: bytes | None = None, dry_run: bool = False) -> Sign:
    """What signs bundles with the key in a file; the key is read now. Raises UsageError where it does not open.

    With `dry_run` it checks the bundle and writes nothing.
    """
    opened = sign.private_key(key, passphrase=passphrase)

    def sign_bundle(path: Path) -> Signed:
        """Sign the bundle at `path`. Raises ArtifactError where its bytes are not what it says, and signs nothing."""
        with console.step(f"signing {path}"):
            bundle = read_bundle(path)
            if not dry_run:
                with rewritten(bundle) as folder:
                    sign.write_envelope(folder, opened)
                    write_sums(folder)
        return Signed(path=str(path), envelope=ENVELOPE_NAME, key=sign.key_id(opened.public_key()))

    return sign_bundle


def verify_signature(path: Path, key: Path) -> str:
    """The key's id where the bundle's bytes are what they were when it was signed with that key.

    Raises ArtifactError for changed bytes and for a missing, wrong or foreign signature, UsageError for a file that
    holds no public key.
    """
    opened = sign.public_key(key)
    with console.step(f"checking the signature of {path}"):
        read_bundle(path)
        return sign.check_signature(path, opened)


def read_passphrase(*, variable: str | None, file: Path | None) -> bytes | None:
    """The passphrase in an environment variable or the first line of a file, None where neither is named.

    Never from the command line, which every process of the machine may read. Raises UsageError.
    """
    if variable is None and file is None:
        return None
    if variable is not None and file is not None:
        raise UsageError("the passphrase has two sources", hint="use --passphrase-env or --passphrase-file")
    if variable is not None:
        found = os.environb.get(os.fsencode(variable), b"")
        where = f"the environment variable {variable}"
    else:
        try:
            found = (Path(str(file)).read_bytes().splitlines() or [b""])[0]
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}", hint="name a file") from error
        where = str(file)
    if not found:
        raise UsageError(f"{where} holds no passphrase", hint="leave the option out for a key without one")
    return found
