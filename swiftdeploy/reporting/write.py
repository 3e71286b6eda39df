"""A finished run as files, each written aside and renamed, so that no reader ever meets half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.reporting.html import run_html
from swiftdeploy.reporting.junit import junit_xml
from swiftdeploy.reporting.markdown import summary_markdown
from swiftdeploy.reporting.sarif import sarif_json
from swiftdeploy.runs import REPORT_NAME, RunReport, encode_run

FormatName = Literal["json", "junit", "sarif", "markdown", "html"]

# Format -> (file name, its text). run.json comes last: where it is new, so are all others.
WRITERS: Mapping[FormatName, tuple[str, Callable[[RunReport], str]]] = MappingProxyType(
    {
        "junit": ("junit.xml", junit_xml),
        "sarif": ("placement.sarif", sarif_json),
        "markdown": ("summary.md", summary_markdown),
        "html": ("index.html", run_html),
        "json": (REPORT_NAME, encode_run),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Formats:
    """Which reports to write. `names` may come in any order; run.json is always among what is written."""

    names: tuple[FormatName, ...] = get_args(FormatName)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in WRITERS:
                raise UsageError(f"report {name!r} is not known", hint=f"choose from {', '.join(get_args(FormatName))}")

    @property
    def written(self) -> tuple[FormatName, ...]:
        """The formats in the order in which they are written, each once, "json" last."""
        return tuple(name for name in WRITERS if name in self.names or name == "json")


def write(report: RunReport, folder: Path, formats: Formats = Formats()) -> tuple[Path, ...]:
    """The files that were written into `folder`, which is made where it is missing. Same report, same bytes.

    Every text is rendered and on the disk before the first rename. Raises ArtifactError where the disk refuses, or a
    placement record cannot be read.
    """
    texts = {WRITERS[name][0]: WRITERS[name][1](report) for name in formats.written}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_whole(folder, texts)
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error


def _write_whole(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    aside: dict[Path, Path] = {}
    try:
        for name, text in texts.items():
            handle, staged = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
            aside[folder / name] = Path(staged)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            Path(staged).chmod(0o644)  # mkstemp's is for its owner alone, and CI uploads from another account
        for path, staged_path in aside.items():
            staged_path.replace(path)
    finally:
        _remove(aside.values())
    return tuple(aside)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
