"""One job, whoever makes its bundle: kept in the cache or not, put in its place, and whatever goes wrong an outcome.

Imports no torch. `build` is what makes real bundles.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from swiftdeploy import bundle
from swiftdeploy.errors import CheckpointError, DependencyError, SwiftdeployError
from swiftdeploy.matrix import cache
from swiftdeploy.matrix.cache import Cache, Entry, Made
from swiftdeploy.matrix.fingerprint import difference, fingerprint, own_code
from swiftdeploy.matrix.jobs import Job, Outcome, bug_of, died, failed, failure_of
from swiftdeploy.matrix.publish import publish
from swiftdeploy.runs import CacheOutcome

Make = Callable[[Job, Path], Made]  # writes the bundle at the path, which does not exist yet
OFF = CacheOutcome(state="off", reason="--no-cache")
# The inputs of an export, which may change under it; everything else of a fingerprint is the worker's own.
_INPUTS = {"checkpoint", "labels", "images", "accuracy images", "model code"}
# Converters keep state in their modules: two jobs in one process would meet there.
_ALONE = threading.Lock()
_LOADED: dict[str, str] = {}  # the source of each model when this process first built it
own_code()  # remembered as it was loaded


def carry_out(job: Job, make: Make) -> Outcome:
    """The outcome of a job whose bundle `make` writes. A failure is in it, and nothing half-made is left."""
    state = OFF if job.cache is None else CacheOutcome(state="miss", reason="it failed", key=job.key)
    try:
        # User modules are found in the working folder, as on the command line.
        with _ALONE, contextlib.chdir(job.folder):
            _check_loaded(job)
            return _directly(job, make) if job.cache is None else _through(job, job.cache, make)
    except SwiftdeployError as error:
        return failed(job, failure_of(error), state)
    except MemoryError:
        return failed(job, died(job.name, "found no more memory"), state)
    except Exception as error:  # noqa: BLE001  one job's bug must not hide what the others found
        traceback.print_exc(file=sys.stderr)
        return failed(job, bug_of(error), state)


def _through(job: Job, store: Cache, make: Make) -> Outcome:
    """Make the bundle in the cache, unless another run did meanwhile, and publish it from there."""
    with cache.holding(store, job.key):
        found = cache.look(store, job.key, job.parts, name=job.name)
        if found.entry is not None:
            publish(cache.bundle_of(store, job.key), job.request.destination)
            hit = CacheOutcome(state="hit", reason="another job made it meanwhile", key=job.key)
            return Outcome(name=job.name, cache=hit, made=found.entry.made)
        with cache.adding(store, job.key) as place:
            made = _made(job, place, make)
            seal = bundle.read_manifest(place).seal
            entry = Entry(version=1, key=job.key, name=job.name, parts=job.parts, made=made, manifest_seal=seal)
            cache.describe(place, entry)
        publish(cache.bundle_of(store, job.key), job.request.destination)
    return Outcome(name=job.name, cache=CacheOutcome(state="miss", reason=found.reason, key=job.key), made=made)


def _directly(job: Job, make: Make) -> Outcome:
    with bundle.staged(job.request.destination, force=True) as folder:
        place = folder / ".fresh"
        made = _made(job, place, make)
        for path in sorted(place.iterdir()):
            path.rename(folder / path.name)
        place.rmdir()
    return Outcome(name=job.name, cache=OFF, made=made)


def _made(job: Job, place: Path, make: Make) -> Made:
    """What making found. Raises CheckpointError where an input changed since the run was planned."""
    _compare(job, "since the run was planned")
    made = make(job, place)
    _compare(job, "while it was read")
    if job.sha256 is not None and bundle.read_manifest(place).provenance.sha256 != job.sha256:
        raise CheckpointError(f"{job.name}: its checkpoint changed while it was read", hint="run again")
    return made


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


def _check_loaded(job: Job) -> None:
    """Raise DependencyError where this process holds older code than lies on disk: a cluster's workers live long."""
    model = job.request.model
    if _LOADED.setdefault(model, job.parts["model code"]) != job.parts["model code"]:
        raise DependencyError(f"this worker has loaded an older {model}", hint="restart the workers")
