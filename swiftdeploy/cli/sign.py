"""`swiftdeploy sign`: a key file vouches for bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.configured import configured_bundles
from swiftdeploy.cli.options import Json, NoColor, PassphraseEnv, PassphraseFile, Quiet, Verbose
from swiftdeploy.errors import UsageError


def sign(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="The bundle's folder.", show_default=False)
    ] = None,
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

    In a folder with a swiftdeploy.toml, --key alone signs the bundles of the models that it names.

    Example: swiftdeploy sign dist/swiftformer_xs --key release.pem
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if (new_key is None) == (key is None) or (new_key is not None and bundle is not None):
        raise UsageError("nothing to do", hint="swiftdeploy sign BUNDLE --key FILE, or swiftdeploy sign --new-key FILE")
    bundles = [] if new_key is not None else [bundle] if bundle is not None else configured_bundles("sign")
    from swiftdeploy.pipeline import signing

    passphrase = signing.read_passphrase(variable=passphrase_env, file=passphrase_file)
    if new_key is not None:
        public = signing.make_key(new_key, passphrase=passphrase, dry_run=dry_run)
        text = f"{new_key}: keep it secret\n{public}: give it away"
        _say({"private": str(new_key), "public": str(public), "written": not dry_run}, text, json=json)
        return
    apply = signing.signer(Path(str(key)), passphrase=passphrase, dry_run=dry_run)
    signed = [apply(each) for each in bundles]
    done = "would be signed" if dry_run else "signed"
    lines = [f"{one.path}/{one.envelope}: {done} by key {one.key[:16]}" for one in signed]
    _say({"signed": signed, "written": not dry_run}, "\n".join(lines), json=json)


def _say(document: dict[str, object], text: str, *, json: bool) -> None:
    if json:
        output.document(document)
    else:
        console.stdout().print(console.plain(text), soft_wrap=True)
