"""What an earlier run left in its folder: bundles, whose files are the truth, and a report that knows more of them.

A report has the accuracy and latency that no manifest holds; only the files say what is in them now. So the bundle is
read, and its report adds what it measured on these very artifacts. A report without its bundles is enough by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from swiftdeploy.bundle import MANIFEST_NAME, read_bundle
from swiftdeploy.matrix.summary import summary_of
from swiftdeploy.runs import REPORT_NAME, BundleSummary, RunReport, read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """A bundle's facts and, where its files lie at hand, their folder."""

    summary: BundleSummary
    folder: Path | None = None


def is_bundle(path: Path) -> bool:
    """Whether this folder is a bundle, sound or not."""
    return (path / MANIFEST_NAME).is_file()


def report_at(path: Path) -> RunReport | None:
    """The report that `path` is, or that lies in the folder; None where there is none. Raises ArtifactError."""
    return read_run(path) if path.is_file() or (path / REPORT_NAME).is_file() else None


def names_at(path: Path, report: RunReport | None) -> tuple[str, ...]:
    """The names of all that a report and a folder hold, the report's jobs first."""
    jobs = [job.name for job in report.jobs] if report is not None else []
    return tuple(
        dict.fromkeys([*jobs, *sorted(manifest.parent.name for manifest in path.glob(f"[!.]*/{MANIFEST_NAME}"))])
    )


def read_earlier(path: Path) -> Earlier:
    """The bundle at `path`. Raises ArtifactError where it is not what was written."""
    return Earlier(summary=summary_of(read_bundle(path)), folder=path)


def earlier(path: Path, name: str, report: RunReport | None) -> Earlier | None:
    """The bundle of that name in a folder with this report; None where neither has it, or its job failed.

    Raises ArtifactError where its files are not those that were written.
    """
    job = report.job(name) if report is not None else None
    told = job.summary if job is not None else None
    if job is not None and told is None:
        return None  # what lies there is an older run's
    if told is None and not is_bundle(path / name):
        return None
    if told is not None and not (path / name).is_dir():
        return Earlier(summary=told)
    found = read_earlier(path / name)
    return found if told is None else replace(found, summary=_completed(found.summary, told))


def _completed(found: BundleSummary, told: BundleSummary) -> BundleSummary:
    """A bundle's summary with what a report measured, where it speaks of the same artifacts."""
    if {(x.path, x.sha256) for x in found.artifacts} != {(x.path, x.sha256) for x in told.artifacts}:
        return found
    latency = tuple(dict.fromkeys([*told.latency, *found.latency]))
    return replace(found, accuracy=told.accuracy, latency=latency)
