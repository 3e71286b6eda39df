"""SARIF 2.1.0 of the placement findings: a rule for each rule that fired, a result for each place where it did.

A place is a logical location, model / artifact / op. GitHub shows only what has a file as well: that is the
configuration, where it is named by a relative path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from swiftdeploy.report import Finding, Hit
from swiftdeploy.reporting.placed import Placed, placed
from swiftdeploy.reporting.text import visible
from swiftdeploy.runs import RunReport
from swiftdeploy.seal import canonical

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERSION = "2.1.0"
# A finding's severities are SARIF's levels, word for word; this says so where a new one would have to be placed.
LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "note": "note"}


def sarif_json(report: RunReport) -> str:
    """The document. Raises ArtifactError for a placement record that cannot be read."""
    found = placed(report)
    rules = _rules(found)
    order = list(rules)
    file = _file(report.config)
    run = {
        "tool": {
            "driver": {
                "name": "swiftdeploy",
                "version": visible(report.tool.get("swiftdeploy", "")) or "0",
                "rules": [_descriptor(finding) for finding in rules.values()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": report.totals.exit_code == 0, "exitCode": report.totals.exit_code},
        ],
        "results": [
            _result(place, finding, hit, order.index(finding.rule), file)
            for place in found
            for finding in place.engine.findings
            for hit in finding.hits
        ],
    }
    document = {"$schema": SCHEMA, "version": VERSION, "runs": [run]}
    return canonical(document)


def _rules(found: tuple[Placed, ...]) -> dict[str, Finding]:
    """One finding for each rule, by id: their words do not depend on the artifact."""
    rules: dict[str, Finding] = {}
    for place in found:
        for finding in place.engine.findings:
            rules.setdefault(finding.rule, finding)
    return {rule: rules[rule] for rule in sorted(rules)}


def _descriptor(finding: Finding) -> dict[str, Any]:
    says, remedy, source = visible(finding.says), visible(finding.remedy), visible(finding.source)
    descriptor: dict[str, Any] = {
        "id": visible(finding.rule),
        "shortDescription": {"text": says or finding.rule},
        "fullDescription": {"text": f"{says}. Said by: {finding.origin} ({finding.confidence} confidence), {source}"},
        "help": {"text": f"{remedy}\n\nSource: {source}" if remedy else f"Source: {source}"},
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
        "properties": {"confidence": finding.confidence, "origin": finding.origin, "tags": ["placement", "coreml"]},
    }
    if finding.source.startswith("https://") and finding.source.isprintable() and " " not in finding.source:
        descriptor["helpUri"] = quote(finding.source.split(";")[0], safe=":/?#[]@!$&'()*+,=%~-._")
    return descriptor


def _result(place: Placed, finding: Finding, hit: Hit, rule: int, file: str) -> dict[str, Any]:
    names = [visible(part) for part in (place.job, place.artifact, hit.op) if part]
    kinds = ("module", "resource", "function")
    location: dict[str, Any] = {
        "logicalLocations": [
            {"name": name, "fullyQualifiedName": "/".join(names[: depth + 1]), "kind": kinds[depth]}
            for depth, name in reversed(list(enumerate(names)))
        ]
    }
    if file:
        location["physicalLocation"] = {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}
    what = f"{hit.type} {hit.op}" if hit.op else place.artifact
    identity = "\0".join((place.job, place.artifact, finding.rule, hit.op, hit.type, hit.reason))
    return {
        "ruleId": visible(finding.rule),
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": visible(f"{place.job}: {what}: {hit.reason or finding.says}")},
        "locations": [location],
        "partialFingerprints": {"swiftdeployPlace/v1": hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()},
    }


def _file(config: str) -> str:
    """The configuration as a relative URI; empty for an absolute path, which means nothing on another machine."""
    path = PurePosixPath(visible(config).replace("\\", "/"))
    inside = config and not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
    return quote(str(path)) if inside else ""
