"""A finished run as files, each written aside and renamed, so that no reader ever meets half of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from swiftdeploy.aside import write_all
from swiftdeploy.config import REPORT_FILES
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.reporting.html import run_html
from swiftdeploy.reporting.junit import junit_xml
from swiftdeploy.reporting.markdown import summary_markdown
from swiftdeploy.reporting.sarif import sarif_json
from swiftdeploy.runs import RunReport, encode_run

FormatName = Literal["json", "junit", "sarif", "markdown", "html"]

# Format -> (file name, its text). run.json comes last: where it is new, so are all others.
WRITERS: Mapping[FormatName, tuple[str, Callable[[RunReport], str]]] = MappingProxyType(
    {
        "junit": (REPORT_FILES["junit"], junit_xml),
        "sarif": (REPORT_FILES["sarif"], sarif_json),
        "markdown": (REPORT_FILES["markdown"], summary_markdown),
        "html": (REPORT_FILES["html"], run_html),
        "json": (REPORT_FILES["json"], encode_run),
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
        write_all({folder / name: text.encode("utf-8", "replace") for name, text in texts.items()})
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error
    return tuple(folder / name for name in texts)
