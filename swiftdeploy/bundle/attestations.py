"""The files that vouch for a bundle: each covers those before it, so that no byte is left out and nothing is circular.

    payload -> manifest.json -> bom.cdx.json -> provenance.intoto.json -> provenance.intoto.dsse.json -> SHA256SUMS

The manifest lists the payload (artifacts, golden data, labels, device results) and seals its own text. The bill follows
from the manifest. The statement's subjects are the payload, the manifest and the bill. A signature, where there is one,
covers the statement's bytes. SHA256SUMS lists every file but itself, and has one canonical text: the files give it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from swiftdeploy.bundle.bom import BOM_NAME, bill_of_materials
from swiftdeploy.bundle.hashing import records
from swiftdeploy.bundle.manifest import MANIFEST_NAME, SIZE_LIMIT, Manifest, encode
from swiftdeploy.bundle.statement import STATEMENT_NAME, statement, subjects
from swiftdeploy.bundle.sums import SUMS_NAME, differing, encode_sums
from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import FileRecord
from swiftdeploy.seal import canonical

ENVELOPE_NAME = "provenance.intoto.dsse.json"
VOUCHING = frozenset({MANIFEST_NAME, BOM_NAME, STATEMENT_NAME, ENVELOPE_NAME, SUMS_NAME})
_OPTIONAL = frozenset({ENVELOPE_NAME})
_AFTER_STATEMENT = frozenset({STATEMENT_NAME, ENVELOPE_NAME, SUMS_NAME})
_HINT = "restore the bundle, or export again"


def payload_records(folder: Path) -> tuple[FileRecord, ...]:
    """The files of a bundle that its manifest lists: all but those that vouch for others."""
    return records(folder, leave_out=VOUCHING)


def attest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and what vouches for the files beside it. A signature that lies there is counted."""
    (folder / MANIFEST_NAME).write_text(encode(manifest), encoding="utf-8")
    (folder / BOM_NAME).write_text(canonical(bill_of_materials(manifest)), encoding="utf-8")
    files = records(folder, leave_out=_AFTER_STATEMENT)
    (folder / STATEMENT_NAME).write_text(canonical(statement(manifest, files)), encoding="utf-8")
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS anew: what comes last, after everything else."""
    (folder / SUMS_NAME).write_bytes(encode_sums(records(folder, leave_out=frozenset({SUMS_NAME}))))


def check_attestations(folder: Path, present: Sequence[FileRecord]) -> None:
    """Raise ArtifactError where the statement or SHA256SUMS is missing or does not fit the files that are `present`."""
    by_name = {record.path: record for record in present}
    missing = sorted(VOUCHING - _OPTIONAL - by_name.keys())
    if missing:
        raise ArtifactError(f"{folder.name} lacks {', '.join(missing)}", hint=_HINT)
    covered = {name: record for name, record in by_name.items() if name not in _AFTER_STATEMENT}
    _check_statement(folder, _bounded(folder, by_name[STATEMENT_NAME]), covered)
    others = [record for record in present if record.path != SUMS_NAME]
    text = _bounded(folder, by_name[SUMS_NAME])
    if text != encode_sums(others):
        names = ", ".join(differing(others, text)) or "its lines are not in order"
        raise ArtifactError(f"{folder.name}/{SUMS_NAME} and the files disagree: {names}", hint=_HINT)


def _check_statement(folder: Path, text: bytes, covered: Mapping[str, FileRecord]) -> None:
    try:
        stated = subjects(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{folder.name}/{STATEMENT_NAME} is damaged: {error}", hint=_HINT) from error
    found = {name: record.sha256 for name, record in covered.items()}
    odd = sorted({name for name, _ in stated.items() ^ found.items()})
    if odd:
        raise ArtifactError(f"{folder.name}/{STATEMENT_NAME} and the files disagree: {', '.join(odd)}", hint=_HINT)


def _bounded(folder: Path, record: FileRecord) -> bytes:
    """A text's bytes, unless it is larger than any that we write: a hostile one must not fill the memory."""
    if record.bytes > SIZE_LIMIT:
        raise ArtifactError(f"{folder.name}/{record.path} has {record.bytes} bytes, more than it can need", hint=_HINT)
    try:
        return (folder / record.path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{folder.name}/{record.path} cannot be read: {error}", hint=_HINT) from error
