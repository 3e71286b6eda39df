"""One job in a worker: make the bundle, verify what was written, keep it in the cache, put it in its place.

This module loads torch and the converters, once for each worker.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import traceback
from pathlib import Path

from swiftdeploy import bundle
from swiftdeploy.errors import CheckpointError, DependencyError, SwiftdeployError
from swiftdeploy.pipeline import cache
from swiftdeploy.pipeline.accuracy import accuracy_of
from swiftdeploy.pipeline.cache import Cache, Entry, Made
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.fingerprint import difference, fingerprint
from swiftdeploy.pipeline.jobs import Job, Outcome, bug_of, died, failed, failure_of
from swiftdeploy.pipeline.memory import watched
from swiftdeploy.pipeline.publish import publish
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.runs import CacheOutcome

OFF = CacheOutcome(state="off", reason="--no-cache")
# The inputs of an export, which may change under it; everything else of a fingerprint is the worker's own.
_INPUTS = {"checkpoint", "labels", "images", "accuracy images", "model code"}
# Converters keep state in their modules: two jobs in one process would meet there.
_ALONE = threading.Lock()


def build(job: Job) -> Outcome:
    """The outcome of a job; whatever goes wrong is in it, and nothing half-made is left."""
    off = OFF if job.cache is None else CacheOutcome(state="miss", reason="it failed", key=job.key)
    try:
        with _ALONE:
            return _directly(job) if job.cache is None else _through(job, job.cache)
    except SwiftdeployError as error:
        return failed(job, failure_of(error), off)
    except MemoryError:
        return failed(job, died(job.name, "found no more memory"), off)
    except Exception as error:  # noqa: BLE001  one job's bug must not hide what the others found
        traceback.print_exc(file=sys.stderr)
        return failed(job, bug_of(error), off)


def _through(job: Job, store: Cache) -> Outcome:
    """Make the bundle in the cache, unless another run did meanwhile, and publish it from there."""
    with cache.holding(store, job.key):
        found = cache.look(store, job.key, job.parts, name=job.name)
        if found.entry is not None:
            publish(cache.bundle_of(store, job.key), job.request.destination)
            hit = CacheOutcome(state="hit", reason="another job made it meanwhile", key=job.key)
            return Outcome(name=job.name, cache=hit, made=found.entry.made)
        with cache.adding(store, job.key) as place:
            made, manifest = _make(job, place)
            entry = Entry(
                version=1,
                key=job.key,
                name=job.name,
                parts=job.parts,
                made=made,
                manifest_seal=manifest.seal,
            )
            cache.describe(place, entry)
        publish(cache.bundle_of(store, job.key), job.request.destination)
    return Outcome(name=job.name, cache=CacheOutcome(state="miss", reason=found.reason, key=job.key), made=made)


def _directly(job: Job) -> Outcome:
    with bundle.staged(job.request.destination, force=True) as folder:
        place = folder / ".fresh"
        made, _ = _make(job, place)
        for path in sorted(place.iterdir()):
            path.rename(folder / path.name)
        place.rmdir()
    return Outcome(name=job.name, cache=OFF, made=made)


def _make(job: Job, place: Path) -> tuple[Made, bundle.Manifest]:
    """The verified bundle at `place`. Raises CheckpointError where an input changed since the run was planned."""
    _compare(job, "since the run was planned")
    with watched() as peak:
        result = export(dataclasses.replace(job.request, destination=place, force=False))
        golden = verify_bundle(place).reports
        accuracy = accuracy_of(place, job.judged_on) if job.judged_on is not None else ()
    _compare(job, "while it was read")
    manifest = bundle.read_manifest(place)
    read = manifest.provenance.sha256
    if job.sha256 is not None and read != job.sha256:
        raise wrong_pin(job.checkpoint, read, job.sha256)
    made = Made(seconds=dict(result.seconds), peak_memory_bytes=peak.bytes, golden=golden, accuracy=accuracy)
    return made, manifest


def wrong_pin(checkpoint: str, found: str, pinned: str) -> CheckpointError:
    """The error for weights that are not those that the configuration pins."""
    return CheckpointError(
        f"{checkpoint} has sha256 {found[:16]}…, and the configuration pins {pinned[:16]}…",
        hint="restore the file, or change sha256 where the new weights are meant",
    )


def _compare(job: Job, when: str) -> None:
    changed = difference(fingerprint(job.request, folder=job.folder, judged_on=job.judged_on), job.parts)
    inputs = [name for name in changed if name in _INPUTS]
    if inputs:
        raise CheckpointError(f"{job.name}: its {inputs[0]} changed {when}", hint="run again once nobody writes to it")
    if changed:
        raise DependencyError(
            f"this worker differs from who planned the run: {', '.join(changed)}",
            hint="install the same versions on every worker",
        )
