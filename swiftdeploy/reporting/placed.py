"""The placement section of each bundle of a run, decoded once for every report that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import EnginePrediction, PlacementRecord
from swiftdeploy.runs import JobReport, RunReport
from swiftdeploy.spec import from_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """What the Neural Engine may take of one artifact of one job: a prediction by rules, nothing measured."""

    job: str
    artifact: str
    engine: EnginePrediction


def placed(report: RunReport) -> tuple[Placed, ...]:
    """Every artifact with a prediction. Raises ArtifactError for a record that is not of this version's form."""
    return tuple(found for job in report.jobs for found in _of_job(job))


def _of_job(job: JobReport) -> Iterator[Placed]:
    for plain in job.summary.placement if job.summary is not None else ():
        try:
            record = from_plain(PlacementRecord, plain)
        except ValueError as error:
            raise ArtifactError(
                f"the placement of {job.name} cannot be read: {error}", hint="export the bundle again"
            ) from error
        if record.neural_engine is not None:
            yield Placed(job=job.name, artifact=record.artifact, engine=record.neural_engine)
