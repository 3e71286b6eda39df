"""What became of each figure since the baseline: one difference a figure, equal ones included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swiftdeploy.reporting.cells import closeness, find_accuracy, find_artifact
from swiftdeploy.reporting.text import EXACT, NOTHING, figure, signed
from swiftdeploy.runs import ArtifactSummary, BundleSummary, JobReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One figure of a bundle (`artifact` is then empty) or of one artifact, in `unit`; None in dB is exact."""

    job: str
    artifact: str
    figure: str
    before: float | None
    after: float | None
    unit: str

    @property
    def changed(self) -> bool:
        """Whether the figure is another one than the baseline's."""
        return self.before != self.after

    @property
    def was(self) -> str:
        """The baseline's figure, as people read it."""
        return _shown(self.before, self.unit)

    @property
    def now(self) -> str:
        """The run's figure, as people read it."""
        return _shown(self.after, self.unit)

    @property
    def change(self) -> str:
        """How far the figure moved, with its sign; a dash where one of both is exact."""
        if self.before is None or self.after is None:
            return NOTHING if self.changed else "="
        return signed(self.after - self.before, self.unit)


def differences(job: JobReport) -> tuple[Difference, ...]:
    """Every figure that both the bundle and its baseline have; none where one of them is missing."""
    if job.summary is None or job.baseline is None:
        return ()
    return tuple(
        Difference(job=job.name, artifact=artifact, figure=name, before=before, after=after, unit=unit)
        for artifact, name, before, after, unit in _figures(job.baseline, job.summary)
    )


_Figure = tuple[str, str, float | None, float | None, str]


def _figures(old: BundleSummary, new: BundleSummary) -> Iterator[_Figure]:
    yield "", "bundle size", old.bytes, new.bytes, "bytes"
    yield "", "parameters", old.parameters, new.parameters, ""
    yield "", "calls after fusing", sum(old.ops_after.values()), sum(new.ops_after.values()), ""
    for artifact in new.artifacts:
        before = find_artifact(old, artifact.path)
        if before is not None:
            yield from _of_artifact(before, artifact)
    for right in new.accuracy:
        was = find_accuracy(old, right.artifact)
        if was is not None:
            yield right.artifact or "oracle", "top-1", was.top1, right.top1, "share"
    medians = {(time.artifact, time.device, time.unit): time.median_ms for time in old.latency}
    for time in new.latency:
        place = (time.artifact, time.device, time.unit)
        if place in medians:
            yield time.artifact, f"median on {time.device}, {time.unit}", medians[place], time.median_ms, "ms"


def _of_artifact(old: ArtifactSummary, new: ArtifactSummary) -> Iterator[_Figure]:
    yield new.path, "size", old.bytes, new.bytes, "bytes"
    yield new.path, "ops", sum(old.ops.values()), sum(new.ops.values()), ""
    before, after = closeness(old.parity), closeness(new.parity)
    if before.compared and after.compared:
        yield new.path, "worst PSNR", before.psnr_db, after.psnr_db, "dB"


def _shown(value: float | None, unit: str) -> str:
    return EXACT if value is None and unit == "dB" else figure(value, unit)
