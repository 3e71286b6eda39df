"""The reader of what a device wrote: nothing counts that cannot be checked here.

In: a JSON file. Out: a `measurement.Measurement`. On the way the file's seal, its schema, the plan, the order of the
rounds, every statistic, every PSNR and every model hash are checked, and what spoils a measurement is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import jsonschema
import referencing

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.harness.measurement import KIND, Measurement
from swiftdeploy.harness.plan import SCHEMA, Plan
from swiftdeploy.harness.recompute import check_consistency, spoiling_facts
from swiftdeploy.schema import load_schema
from swiftdeploy.spec import from_plain, to_plain

Allowance = Literal["debug_build", "debugger", "simulator", "low_power_mode", "thermal"]

ALLOWANCES: tuple[Allowance, ...] = get_args(Allowance)
MAX_BYTES = 256 << 20

_MEASURE_AGAIN = "measure again, and copy the file as the device wrote it"
_HINTS: Mapping[str, str] = {
    "debug_build": "build for Release (the scheme's test and profile actions do) and measure again",
    "debugger": "launch without a debugger: `xcodebuild test`, `xcrun devicectl` or the home screen",
    "simulator": "measure on a phone; a simulator has no Neural Engine",
    "low_power_mode": "turn off Low Power Mode and measure again",
    "thermal": "let the device cool down, off its charger and out of its case, and measure again",
}
_FACTS: Mapping[str, str] = {
    "debug_build": "comes from a debug build",
    "debugger": "was measured under a debugger",
    "simulator": "comes from a simulator, not from a device",
    "low_power_mode": "was measured in Low Power Mode",
    "thermal": "was measured while the device throttled (thermal state above the plan's limit)",
}


def read_result(
    path: Path,
    *,
    models: Mapping[str, str] | None = None,
    plan: Plan | None = None,
    allow: Collection[str] = (),
) -> Measurement:
    """The checked measurement in the file `path`.

    `models` maps labels ("name-precision") to the tree sha256 of the packages that must have been measured; `plan` is
    the plan that must have been followed (its models are compared only where it names any); `allow` names reasons of
    `ALLOWANCES` that are not refused. Raises ArtifactError with the file and the reason, UsageError for an unknown
    allowance.
    """
    unknown = sorted(set(allow) - set(ALLOWANCES))
    if unknown:
        raise UsageError(f"{unknown[0]!r} cannot be allowed", hint=f"choose from {', '.join(ALLOWANCES)}")
    data = _read(path)
    document = _parse(data, path)
    _check_version(document, path)
    _check_seal(data, document, path)
    _check_schema(document, path)
    try:
        measurement = from_plain(Measurement, document)
    except (ValueError, UsageError) as error:
        _refuse(path, f"does not fit its own schema: {error}")
    for problem in check_consistency(measurement):
        _refuse(path, problem)
    _check_expected(measurement, models, plan, path)
    for reason in spoiling_facts(measurement):
        if reason not in allow:
            raise ArtifactError(f"{path.name} {_FACTS[reason]}", hint=_HINTS[reason])
    return measurement


def sealed(measurement: Measurement) -> bytes:
    """The bytes of a result file, sealed as the Swift harness seals them; `measurement.seal` is ignored."""
    document = _without_none(to_plain(measurement)) | {"seal": "0" * 64}
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return data.replace(b'"seal":"' + b"0" * 64, b'"seal":"' + hashlib.sha256(data).hexdigest().encode())


def _refuse(path: Path, fact: str) -> NoReturn:
    raise ArtifactError(f"{path.name} {fact}", hint=_MEASURE_AGAIN)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            _refuse(path, f"is larger than {MAX_BYTES >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}", hint="check the path") from error


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    def refuse_constant(name: str) -> NoReturn:
        _refuse(path, f"holds {name}, which is no measurement")

    try:
        document = json.loads(data, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path.name} is no JSON, or truncated: {error}", hint=_MEASURE_AGAIN) from error
    if not isinstance(document, dict):
        _refuse(path, "holds no JSON object")
    return document


def _check_version(document: Mapping[str, Any], path: Path) -> None:
    if document.get("kind") != KIND:
        _refuse(path, f"is no latency result (kind {document.get('kind')!r})")
    if document.get("schema") != SCHEMA:
        raise ArtifactError(
            f"{path.name} has schema version {document.get('schema')!r}, not {SCHEMA}",
            hint="render the harness anew with this version, and measure again",
        )


def _check_seal(data: bytes, document: Mapping[str, Any], path: Path) -> None:
    seal = document.get("seal")
    if not isinstance(seal, str) or not re.fullmatch("[0-9a-f]{64}", seal):
        _refuse(path, "has no seal")
    blank = data.replace(b'"seal":"' + seal.encode(), b'"seal":"' + b"0" * 64)
    if hashlib.sha256(blank).hexdigest() != seal:
        _refuse(path, "was edited: its seal does not fit its bytes")


def _check_schema(document: Mapping[str, Any], path: Path) -> None:
    plan = referencing.Resource.from_contents(load_schema("harness/plan"))
    registry: referencing.Registry[Any] = referencing.Registry().with_resource(plan.id() or "", plan)
    validator = jsonschema.Draft202012Validator(load_schema("harness/result"), registry=registry)
    error = next(iter(validator.iter_errors(document)), None)
    if error is not None:
        _refuse(path, f"does not fit the schema at {error.json_path}: {error.message[:120]}")


def _check_expected(measurement: Measurement, models: Mapping[str, str] | None, plan: Plan | None, path: Path) -> None:
    for pair in measurement.pairs if models is not None else ():
        wanted = (models or {}).get(pair.label)
        if wanted is None:
            _refuse(path, f"measures {pair.label}, which is not in the bundle")
        if wanted != pair.sha256:
            raise ArtifactError(
                f"{path.name} measures another {pair.label}: sha256 {pair.sha256[:12]}, not {wanted[:12]}",
                hint="render the harness anew from this bundle, and measure again",
            )
    if plan is None:
        return
    expected, found = to_plain(plan), to_plain(measurement.plan)
    for key, value in expected.items():
        if found[key] != value and (key != "models" or plan.models):
            raise ArtifactError(
                f"{path.name} followed a changed plan: {key} differs",
                hint="measure with the plan as rendered, or import with the plan that was used",
            )


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
