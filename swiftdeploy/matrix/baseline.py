"""What a run is compared with: an earlier run's report, a bundle, or a folder of bundles."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.bundle import MANIFEST_NAME, read_bundle
from swiftdeploy.config import Config
from swiftdeploy.errors import ArtifactError, ConfigError
from swiftdeploy.matrix.summary import summary_of
from swiftdeploy.runs import REPORT_NAME, BundleSummary, read_run


def baselines(config: Config) -> dict[str, BundleSummary]:
    """The baseline of each model that has one. Raises ConfigError for one that is not there, ArtifactError as it reads.

    A model that a run did not have yet has no baseline: it is new.
    """
    found = {}
    for name, entry in config.models:
        given = entry.baseline or config.baseline
        summary = _baseline(Path(str(config.path(given))), name, given) if given else None
        if summary is not None:
            found[name] = summary
    return found


def _baseline(path: Path, name: str, given: str) -> BundleSummary | None:
    if (path / MANIFEST_NAME).is_file():
        return summary_of(read_bundle(path))
    if path.is_file() or (path / REPORT_NAME).is_file():
        job = read_run(path).job(name)
        return job.summary if job is not None else None
    if (path / name / MANIFEST_NAME).is_file():
        return summary_of(read_bundle(path / name))
    if path.is_dir():
        if any(path.glob(f"*/{MANIFEST_NAME}")):
            return None
        raise ArtifactError(
            f"the baseline {given} holds neither {REPORT_NAME} nor a bundle", hint="name a run, a bundle, or its folder"
        )
    raise ConfigError(
        f"the baseline {given} is not there", hint="fetch the last release, or leave the baseline out at first"
    )
