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
from swiftdeploy.bundle.store import check_destination, staged, unfinished_path

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
    "encode",
    "read_bundle",
    "read_manifest",
    "records",
    "save_arrays",
    "sha256_of",
    "staged",
    "tree_digest",
    "unfinished_path",
]
