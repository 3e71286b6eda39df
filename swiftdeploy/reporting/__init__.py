"""A finished run as files: for a CI service (JUnit, SARIF, annotations), for people (Markdown, HTML), as JSON."""

from swiftdeploy.reporting.annotations import annotation_lines
from swiftdeploy.reporting.markdown import append_summary
from swiftdeploy.reporting.write import WRITERS, FormatName, Formats, write

__all__ = ["WRITERS", "FormatName", "Formats", "annotation_lines", "append_summary", "write"]
