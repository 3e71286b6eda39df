"""A finished run as files: run.json always, and what else the configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from swiftdeploy.bundle import write_whole
from swiftdeploy.config import FILE_NAME, Config
from swiftdeploy.errors import ArtifactError, ConfigError
from swiftdeploy.runs import REPORT_NAME, RunReport, encode_run

# Format -> (file name, text of a report). A new format is a row here and a module that renders it.
WRITERS: Mapping[str, tuple[str, Callable[[RunReport], str]]] = {"json": (REPORT_NAME, encode_run)}


def folder_of(config: Config) -> Path:
    """Where the configuration wants its reports."""
    return config.folder / (config.reports.folder or config.output)


def check_reports(config: Config) -> None:
    """Raise ConfigError for a format that nothing here can write, ArtifactError where no report can be put."""
    for name in config.reports.formats:
        if name not in WRITERS:
            raise ConfigError(
                f"{FILE_NAME}: reports.formats: nothing writes {name!r} yet", hint=f"choose from {', '.join(WRITERS)}"
            )
    folder = folder_of(config)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ArtifactError(
            f"{folder} cannot be written: {there.name} is {'read-only' if there.is_dir() else 'no folder'}",
            hint="choose another output or reports.folder, or check its permissions",
        )


def write_reports(report: RunReport, config: Config) -> tuple[Path, ...]:
    """The files that were written, each whole. Raises ArtifactError where the disk refuses."""
    written = []
    for name in dict.fromkeys(("json", *config.reports.formats)):
        file, text = WRITERS[name]
        path = folder_of(config) / file
        write_whole(path, text(report))
        written.append(path)
    return tuple(written)
