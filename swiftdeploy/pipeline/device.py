"""What phones brought back: checked against the bundle that was measured, stored in it, and read from it again.

A stored result is one of the bundle's files: the manifest names it, its hash counts, and the bundle verifies as before.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from swiftdeploy import catalog, console
from swiftdeploy.bundle import (
    ENVELOPE_NAME,
    MANIFEST_NAME,
    Bundle,
    DeviceRecord,
    attest,
    payload_records,
    read_bundle,
    rewritten,
    tree_digest,
)
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.harness.compare import Comparison
from swiftdeploy.harness.measurement import Measurement
from swiftdeploy.harness.plan import ModelPlan, Plan
from swiftdeploy.harness.recompute import spoiling_facts
from swiftdeploy.harness.report import report_html
from swiftdeploy.harness.results import read_result
from swiftdeploy.pipeline.harness import harness_models, open_measurable
from swiftdeploy.report import FileRecord
from swiftdeploy.spec import Published

FOLDER = "device"
# What the command line and the app's launch arguments may choose; the rest of a plan is policy.
_FREE = ("rounds", "predictions_per_round", "compute_units", "seed", "models")
_HOST = "was measured on a computer, not on a device", "results of devices only are imported; compare takes this one"
_MEASURE_AGAIN = "render the harness anew from this bundle, and measure again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """An accepted result. `stored` is its path inside the bundle, empty without one; `known` if it was there before."""

    path: Path
    measurement: Measurement
    stored: str = ""
    known: bool = False


def import_result(
    paths: Sequence[Path], bundle: Path | None = None, *, plan: Plan | None = None, allow: Collection[str] = ()
) -> tuple[Imported, ...]:
    """Check the results in `paths` and store them in `bundle`, all or none.

    Without `plan` every policy of the default plan must have been followed; rounds, predictions, units and seed are
    free. Importing a result twice changes nothing. Raises ArtifactError for a result that is not accepted or a bundle
    that was changed, ModelError for a bundle that cannot be measured, UsageError for an unknown allowance.
    """
    opened = open_measurable(bundle) if bundle is not None else None
    expected = tuple(model.plan() for model in harness_models(opened)) if opened is not None else ()
    found = []
    for path in paths:
        with console.step(f"checking {path}"):
            measurement = read_result(path, plan=plan, allow=allow)
            if opened is not None:
                _check_models(measurement, expected, opened, path)
            if plan is None:
                _check_policy(measurement, path)
        found.append(Imported(path=path, measurement=measurement))
    return tuple(found) if opened is None else _store(found, opened)


def measurements(path: Path, *, allow: Collection[str] = ()) -> tuple[Measurement, ...]:
    """The results at `path`: a result file, a folder of them, or a bundle with stored ones.

    Raises ArtifactError for a result that is not accepted, UsageError where there is none.
    """
    if not path.is_dir():
        return (read_result(path, allow=allow),)
    if (path / MANIFEST_NAME).is_file():
        opened = read_bundle(path)
        # What was let pass when it was imported is on record, and need not be said again.
        found = [read_result(opened.file(r.path), allow={*allow, *r.allowed}) for r in opened.manifest.device]
    else:
        found = [read_result(file, allow=allow) for file in sorted(path.glob("*.json"))]
    if not found:
        raise UsageError(
            f"{path} holds no result of a device", hint="import one: swiftdeploy harness import RESULT --bundle DIR"
        )
    return tuple(found)


def published(runs: Sequence[Measurement]) -> dict[str, tuple[Published, ...]]:
    """What papers state of the measured models, by the name under which each was measured."""
    rows = {row.name: row.published for row in catalog.entries()}
    names = {pair.model for run in runs for pair in run.pairs}
    return {name: rows[name] for name in sorted(names) if rows.get(name)}


def write_report(
    runs: Sequence[Measurement],
    path: Path,
    *,
    comparisons: Sequence[Comparison] = (),
    published: Mapping[str, Sequence[Published]] | None = None,
) -> None:
    """Write the HTML page of `runs`, each once. Raises ArtifactError where the disk refuses."""
    once = tuple({run.launch_id: run for run in runs}.values())
    try:
        path.write_text(report_html(once, comparisons=comparisons, published=published), encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error


def _refuse(path: Path, fact: str, hint: str = _MEASURE_AGAIN) -> NoReturn:
    raise ArtifactError(f"{path.name} {fact}", hint=hint)


def _check_policy(measurement: Measurement, path: Path) -> None:
    default = Plan()
    for name in (field.name for field in dataclasses.fields(Plan)):
        if name not in _FREE and getattr(measurement.plan, name) != getattr(default, name):
            if measurement.device.kind == "host":  # `bench` has a plan of its own
                _refuse(path, *_HOST)
            _refuse(
                path,
                f"followed a changed plan: {name} is not what the harness renders",
                "measure with the plan as rendered, or give the plan that was meant with --plan FILE",
            )


def _check_models(measurement: Measurement, expected: Sequence[ModelPlan], bundle: Bundle, path: Path) -> None:
    """Each model that bears one of the bundle's labels is that artifact; models of other bundles may stand beside."""
    if measurement.device.kind == "host":
        _refuse(path, *_HOST)
    folder = bundle.path.resolve().name
    wanted = {name: line for line in expected for name in (line.label, f"{folder}-{line.precision}")}
    ours = [line for line in measurement.plan.models if line.label in wanted]
    if not ours:
        measured = ", ".join(line.label for line in measurement.plan.models)
        _refuse(path, f"measures {measured}; {bundle.path.name} holds {', '.join(line.label for line in expected)}")
    for line in ours:
        known = wanted[line.label]
        if line.sha256 != known.sha256:
            _refuse(path, f"measures another {line.label}: sha256 {line.sha256[:12]}, not {known.sha256[:12]}")
        for field in _differing(line, known):
            _refuse(path, f"followed a changed plan: {field} of {line.label} is not what the bundle gives")


def _differing(line: ModelPlan, known: ModelPlan) -> Iterator[str]:
    # Names follow the bundles that stood side by side in one project; they change no number.
    for name in (field.name for field in dataclasses.fields(ModelPlan)):
        named = name in ("name", "resource", "golden_inputs", "golden_outputs")
        if not named and getattr(line, name) != getattr(known, name):
            yield name


def _store(found: Sequence[Imported], bundle: Bundle) -> tuple[Imported, ...]:
    """The same results, stored. The bundle is copied aside, grows there, and comes back in one rename."""
    before: Mapping[str, FileRecord] = {record.path: record for record in bundle.manifest.files}
    added: dict[str, tuple[Path, DeviceRecord]] = {}
    placed = []
    for item in found:
        record = _record(item.measurement)
        known = record.path in before
        if not known:
            held = {r.launch_id: r.path for r in (*bundle.manifest.device, *(r for _, r in added.values()))}
            if held.get(record.launch_id, record.path) != record.path:
                _refuse(
                    item.path,
                    f"is another file of run {record.launch_id[:8]}, which {bundle.path.name} already holds",
                    "one run gives one result; import the file as the device wrote it",
                )
            added[record.path] = (item.path, record)
        placed.append(dataclasses.replace(item, stored=record.path, known=known))
    if added:
        with console.step(f"storing in {bundle.path}"):
            _rewrite(bundle, added)
    return tuple(placed)


def _rewrite(bundle: Bundle, added: Mapping[str, tuple[Path, DeviceRecord]]) -> None:
    with rewritten(bundle) as folder:
        if (folder / ENVELOPE_NAME).exists():
            # What was signed said nothing of these results, so that signature cannot stay.
            (folder / ENVELOPE_NAME).unlink()
            console.note("the signature covered the bundle without these results: sign it again", mark="note")
        (folder / FOLDER).mkdir(exist_ok=True)
        for name, (source, _) in added.items():
            shutil.copyfile(source, folder / name)
        files = payload_records(folder)
        device = (*bundle.manifest.device, *(record for _, record in added.values()))
        manifest = dataclasses.replace(
            bundle.manifest,
            device=tuple(sorted(device, key=lambda record: record.path)),
            files=files,
            tree_sha256=tree_digest(files),
        )
        attest(folder, manifest)


def _record(measurement: Measurement) -> DeviceRecord:
    # The seal names the bytes, so that one result has one place, whatever its file was called.
    hardware = re.sub(r"[^A-Za-z0-9]+", "_", measurement.device.model).strip("_") or "device"
    return DeviceRecord(
        path=f"{FOLDER}/{hardware}-{measurement.seal[:16]}.json",
        launch_id=measurement.launch_id,
        created_at=measurement.created_at,
        device=measurement.device.column,
        models=tuple(dict.fromkeys(pair.label for pair in measurement.pairs)),
        allowed=spoiling_facts(measurement),
    )
