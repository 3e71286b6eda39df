"""The folder that ships: staged, hashed, canonical, renamed into place, read back with suspicion."""

from swiftdeploy.bundle.hashing import artifact_digest, records, sha256_of, tree_digest
from swiftdeploy.bundle.manifest import (
    MANIFEST_NAME,
    ArtifactRecord,
    DeviceRecord,
    GoldenRecord,
    Manifest,
    ModelRecord,
    encode,
    read_manifest,
)
from swiftdeploy.bundle.read import Bundle, read_bundle, save_arrays
from swiftdeploy.bundle.store import check_destination, discard, held, placed, staged, sweep, write_whole

__all__ = [
    "MANIFEST_NAME",
    "ArtifactRecord",
    "Bundle",
    "DeviceRecord",
    "GoldenRecord",
    "Manifest",
    "ModelRecord",
    "artifact_digest",
    "check_destination",
    "discard",
    "encode",
    "held",
    "placed",
    "read_bundle",
    "read_manifest",
    "records",
    "save_arrays",
    "sha256_of",
    "staged",
    "sweep",
    "tree_digest",
    "write_whole",
]
