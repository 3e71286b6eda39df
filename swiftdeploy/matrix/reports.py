"""A finished run as files: run.json always, and what else the configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from swiftdeploy import reporting
from swiftdeploy.config import Config
from swiftdeploy.errors import ArtifactError
from swiftdeploy.runs import RunReport


def folder_of(config: Config) -> Path:
    """Where the configuration wants its reports."""
    return config.folder / (config.reports.folder or config.output)


def check_reports(config: Config) -> None:
    """Raise ArtifactError where no report can be put: better before the first model is made than after the last."""
    folder = folder_of(config)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ArtifactError(
            f"{folder} cannot be written: {there.name} is {'read-only' if there.is_dir() else 'no folder'}",
            hint="choose another output or reports.folder, or check its permissions",
        )


def write_reports(report: RunReport, config: Config, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that were written, each whole; a CI service's summary of the step gets the Markdown as well.

    Raises ArtifactError where the disk refuses.
    """
    written = reporting.write(report, folder_of(config), reporting.Formats(names=config.reports.formats))
    summary = reporting.append_summary(report, environment)
    return written if summary is None else (*written, summary)
