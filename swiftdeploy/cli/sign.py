"""`swiftdeploy sign`: a key file vouches for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, PassphraseEnv, PassphraseFile, Quiet, Verbose
from swiftdeploy.errors import UsageError


def sign(
    bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key, Ed25519 in PEM.")] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key: FILE and FILE.pub.")
    ] = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_file: PassphraseFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check bundle and key, and sign nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Sign a bundle, or make a key to sign with.

    The signature is a DSSE envelope over the bundle's in-toto statement. Check it with: swiftdeploy verify --signature

    Example: swiftdeploy sign dist/swiftformer_xs --key release.pem
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if (new_key is None) == (bundle is None) or (bundle is None) != (key is None):
        raise UsageError("nothing to do", hint="swiftdeploy sign BUNDLE --key FILE, or swiftdeploy sign --new-key FILE")
    from swiftdeploy.pipeline import signing

    passphrase = signing.read_passphrase(variable=passphrase_env, file=passphrase_file)
    if new_key is not None:
        public = signing.make_key(new_key, passphrase=passphrase, dry_run=dry_run)
        text = f"{new_key}: keep it secret\n{public}: give it away"
        _say({"private": str(new_key), "public": str(public), "written": not dry_run}, text, json=json)
        return
    apply = signing.signer(Path(str(key)), passphrase=passphrase, dry_run=dry_run)
    signed = apply(Path(str(bundle)))
    done = "would be signed" if dry_run else "signed"
    _say(
        {"signed": signed, "written": not dry_run},
        f"{signed.path}/{signed.envelope}: {done} by key {signed.key[:16]}",
        json=json,
    )


def _say(document: dict[str, object], text: str, *, json: bool) -> None:
    if json:
        output.document(document)
    else:
        console.stdout().print(escape(text), soft_wrap=True)
