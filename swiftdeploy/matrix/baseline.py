"""What a run is compared with: an earlier run's report, a bundle, or a folder of bundles."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.config import Config, ModelEntry
from swiftdeploy.errors import ArtifactError, ConfigError
from swiftdeploy.matrix.earlier import earlier, is_bundle, names_at, read_earlier, report_at
from swiftdeploy.runs import REPORT_NAME, BundleSummary, RunReport


class Baselines:
    """The baselines that a configuration names; a report that several models share is read once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reports: dict[Path, RunReport | None] = {}

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
        if not path.exists():
            raise ConfigError(
                f"the baseline {given} is not there", hint="fetch the last release, or leave the baseline out at first"
            )
        if is_bundle(path):
            return read_earlier(path).summary
        report = self._report(path)
        if report is None and not names_at(path, None):
            raise ArtifactError(
                f"it holds neither {REPORT_NAME} nor a bundle", hint="name a run, a bundle, or a folder"
            )
        found = earlier(path, name, report)
        return found.summary if found is not None else None

    def _report(self, path: Path) -> RunReport | None:
        if path not in self._reports:
            self._reports[path] = report_at(path)
        return self._reports[path]
