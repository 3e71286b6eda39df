"""What a run is compared with: an earlier run's report, a bundle, or a folder of bundles."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.bundle import MANIFEST_NAME, read_bundle
from swiftdeploy.config import Config, ModelEntry
from swiftdeploy.errors import ArtifactError, ConfigError
from swiftdeploy.matrix.summary import summary_of
from swiftdeploy.runs import REPORT_NAME, BundleSummary, RunReport, read_run


class Baselines:
    """The baselines that a configuration names; a report that several models share is read once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reports: dict[Path, RunReport] = {}

    def of(self, name: str, model: ModelEntry) -> BundleSummary | None:
        """The baseline of one model; None where none is named, or where it does not have that model yet.

        Raises ConfigError for one that is not there, ArtifactError for one that is damaged.
        """
        given = model.baseline or self._config.baseline
        if not given:
            return None
        try:
            return self._found(Path(str(self._config.path(given))), name, given)
        except ArtifactError as error:
            raise ArtifactError(
                f"the baseline {given} cannot be compared with: {error.fact}", hint=error.hint
            ) from error

    def _found(self, path: Path, name: str, given: str) -> BundleSummary | None:
        if (path / MANIFEST_NAME).is_file():
            return summary_of(read_bundle(path))
        if path.is_file() or (path / REPORT_NAME).is_file():
            job = self._report(path).job(name)
            return job.summary if job is not None else None
        if (path / name / MANIFEST_NAME).is_file():
            return summary_of(read_bundle(path / name))
        if path.is_dir():
            if any(path.glob(f"*/{MANIFEST_NAME}")):
                return None
            raise ArtifactError(
                f"it holds neither {REPORT_NAME} nor a bundle", hint="name a run, a bundle, or a folder"
            )
        raise ConfigError(
            f"the baseline {given} is not there", hint="fetch the last release, or leave the baseline out at first"
        )

    def _report(self, path: Path) -> RunReport:
        if path not in self._reports:
            self._reports[path] = read_run(path)
        return self._reports[path]
