"""The folder that ships: staged, hashed, canonical, renamed into place, read back with suspicion."""

from swiftdeploy.bundle.attestations import ENVELOPE_NAME, attest, payload_records, write_sums
from swiftdeploy.bundle.hashing import artifact_digest, records, sha256_of, tree_digest
from swiftdeploy.bundle.manifest import (
    MANIFEST_NAME,
    ArtifactRecord,
    DeviceRecord,
    GoldenRecord,
    Manifest,
    ModelRecord,
    RequestRecord,
    encode,
    is_foreign,
    read_manifest,
)
from swiftdeploy.bundle.read import Bundle, read_bundle, save_arrays
from swiftdeploy.bundle.rewrite import rewritten
from swiftdeploy.bundle.statement import STATEMENT_NAME
from swiftdeploy.bundle.store import (
    check_destination,
    discard,
    held,
    placed,
    staged,
    sweep,
    unfinished_path,
    write_whole,
)

__all__ = [
    "ENVELOPE_NAME",
    "MANIFEST_NAME",
    "STATEMENT_NAME",
    "ArtifactRecord",
    "Bundle",
    "DeviceRecord",
    "GoldenRecord",
    "Manifest",
    "ModelRecord",
    "RequestRecord",
    "artifact_digest",
    "attest",
    "check_destination",
    "discard",
    "encode",
    "held",
    "is_foreign",
    "payload_records",
    "placed",
    "read_bundle",
    "read_manifest",
    "records",
    "rewritten",
    "save_arrays",
    "sha256_of",
    "staged",
    "sweep",
    "tree_digest",
    "unfinished_path",
    "write_sums",
    "write_whole",
]
