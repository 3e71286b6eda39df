"""How a bundle came to be, for tools that are not ours: an in-toto Statement v1 with SLSA provenance v1.

The statement holds no time and nothing of the machine: equal bundles get equal statements, so that whoever builds one
again can compare them byte by byte. Who vouches for it is said by a signature, never by the statement itself.
Sources: the in-toto attestation framework (Statement v1, ResourceDescriptor, DigestSet), SLSA v1.0 (provenance),
the package-url specification.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from swiftdeploy.bundle.manifest import Manifest, RequestRecord
from swiftdeploy.report import FileRecord
from swiftdeploy.spec import to_plain

STATEMENT_NAME = "provenance.intoto.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
# Names, not addresses: what they mean is written in docs/ci.md. A change of meaning takes a new number.
BUILD_TYPE = "urn:swiftdeploy:export:v1"
BUILDER = "urn:swiftdeploy:builder:v1"


def statement(manifest: Manifest, files: Iterable[FileRecord]) -> dict[str, Any]:
    """The statement about `files`, made as the manifest says."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": record.path, "digest": {"sha256": record.sha256}} for record in files],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(manifest),
                "resolvedDependencies": _dependencies(manifest),
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"swiftdeploy": manifest.tool["swiftdeploy"]}}},
        },
    }


def subjects(text: bytes) -> Mapping[str, str]:
    """The sha256 of every subject by name. Raises ValueError for anything that is no such statement."""
    plain = json.loads(text)
    if not isinstance(plain, dict) or (plain.get("_type"), plain.get("predicateType")) != (
        STATEMENT_TYPE,
        PREDICATE_TYPE,
    ):
        raise ValueError("it is no in-toto statement with SLSA provenance")
    try:
        return {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in plain["subject"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"its subjects cannot be read: {error}") from error


def package_url(name: str, version: str) -> str:
    """The package URL of a library from the Python Package Index, or of Python and swiftdeploy, which are not there."""
    kind = "generic" if name in ("python", "swiftdeploy") else "pypi"
    return f"pkg:{kind}/{name}@{quote(version, safe='.-_~')}"


def _parameters(manifest: Manifest) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(manifest.recipe)
    weights = {"seed": manifest.provenance.seed} if manifest.provenance.weights == "untrained" else {}
    given = {key: value for key, value in plain.items() if key not in ("code", "images")}
    return {**given, **weights, "labels": manifest.labels}


def _dependencies(manifest: Manifest) -> list[dict[str, Any]]:
    """Weights, code and images by digest, libraries by package URL."""
    return [*_inputs(manifest, manifest.recipe), *_libraries(manifest.tool)]


def _inputs(manifest: Manifest, recipe: RequestRecord) -> list[dict[str, Any]]:
    provenance = manifest.provenance
    found: list[dict[str, Any]] = []
    if provenance.weights == "trained":
        # Shards have one digest together: that of their sha256sum lines, which in-toto calls dirHash.
        kind = "dirHash" if provenance.format.endswith("-sharded") else "sha256"
        found.append({"name": provenance.source, "digest": {kind: provenance.sha256}, "annotations": {"is": "weights"}})
    if recipe.code:
        found.append(
            {"name": manifest.model.factory, "digest": {"dirHash": recipe.code}, "annotations": {"is": "code"}}
        )
    if recipe.images:
        found.append({"name": "images", "digest": {"dirHash": recipe.images}, "annotations": {"is": "parity images"}})
    return found


def _libraries(tool: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "uri": package_url(name, version)} for name, version in sorted(tool.items()) if version]
