"""What an export is asked to do, and what it answers: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swiftdeploy.bundle import Manifest
from swiftdeploy.errors import CheckpointError, UsageError
from swiftdeploy.precision import parse
from swiftdeploy.spec import ExportOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """One model to export. `destination` is the bundle's folder; `labels` a file or the name of a set.

    `images` are a folder that parity and drift are also measured on, `calibration` one that ranges are measured on.
    """

    model: str
    destination: Path
    checkpoint: str | None = None
    untrained: int | None = None
    attention: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    labels: str = ""
    images: Path | None = None
    calibration: Path | None = None
    options: ExportOptions = field(default_factory=ExportOptions)
    force: bool = False

    def __post_init__(self) -> None:
        if self.checkpoint is None and self.untrained is None:
            raise CheckpointError(
                "no checkpoint is given, and untrained weights answer nothing",
                hint="name a checkpoint, or use --untrained SEED for latency work",
            )
        if self.checkpoint is not None and self.untrained is not None:
            raise UsageError("a checkpoint and --untrained contradict each other", hint="leave one of the two out")
        needing = [pair for pair in self.options.matrix if parse(pair[1]).needs[pair[0]].calibration]
        if needing and self.calibration is None:
            target, name = needing[0]
            or_else = "; w8 for 8-bit weights alone" if target == "onnx" else ""
            raise UsageError(
                f"precision {name!r} is calibrated on images for {target}, and none are given",
                hint=f"--calibration DIR with some dozens of images such as the app will see{or_else}",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A finished export: the bundle's folder, its manifest, and seconds for each stage."""

    bundle: Path
    manifest: Manifest
    seconds: Mapping[str, float]
