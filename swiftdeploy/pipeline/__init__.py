"""The order of the stages: `export` makes a bundle, `verify` checks one."""

from swiftdeploy.pipeline.request import ExportRequest, ExportResult

__all__ = ["ExportRequest", "ExportResult"]
