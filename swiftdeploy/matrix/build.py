"""One job in a worker: export, verify what was written, measure its accuracy where a budget asks for it.

This module loads torch and the converters, once for each worker.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from swiftdeploy.matrix.accuracy import accuracy_of
from swiftdeploy.matrix.cache import Made
from swiftdeploy.matrix.jobs import Job, Outcome
from swiftdeploy.matrix.keeping import carry_out
from swiftdeploy.matrix.memory import watched
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.runs import Accuracy
from swiftdeploy.targets.onnx import forget_exports


def build(job: Job) -> Outcome:
    """The outcome of a job; whatever goes wrong is in it, and nothing half-made is left."""
    try:
        return carry_out(job, _make)
    finally:
        forget_exports()


def _make(job: Job, place: Path) -> Made:
    with watched() as peak:
        result = export(dataclasses.replace(job.request, destination=place, force=False))
        golden = verify_bundle(place).reports
        accuracy = _accuracy(job, place)
    return Made(seconds=dict(result.seconds), peak_memory_bytes=peak.bytes, golden=golden, accuracy=accuracy)


def _accuracy(job: Job, place: Path) -> tuple[Accuracy, ...]:
    if job.judged_on is None:
        return ()
    return accuracy_of(place, job.judged_on, checkpoint=job.request.checkpoint, model=job.request.model)
