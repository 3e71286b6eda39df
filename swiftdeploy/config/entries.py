"""The tables of swiftdeploy.toml as frozen values. What a table leaves out takes the command line's default."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from swiftdeploy.config.budgets import SIZE_PATTERN, Budgets, said
from swiftdeploy.quantization import Int8Options
from swiftdeploy.runs import REPORT_NAME
from swiftdeploy.spec import ATTENTIONS, MIN_IOS, ONNX_OPSETS, TARGETS

FILE_NAME = "swiftdeploy.toml"
HUB = "hf-hub:"
NAME_PATTERN = r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$"
ReportFormat = Literal["json", "junit", "sarif", "markdown", "html"]
REPORT_FILES: Mapping[ReportFormat, str] = MappingProxyType(
    {
        "json": REPORT_NAME,
        "junit": "junit.xml",
        "sarif": "placement.sarif",
        "markdown": "summary.md",
        "html": "index.html",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What [defaults] may say for all models, and each model for itself."""

    attention: str | None = field(
        default=None, metadata=said("SwiftFormer's attention generation.", enum=list(ATTENTIONS))
    )
    labels: str = field(default="", metadata=said('Make a classifier: a file with a label a line, or "imagenet".'))
    images: str | None = field(default=None, metadata=said("Folder of your own images, for parity and drift."))
    calibration: str | None = field(
        default=None, metadata=said("Folder of images on which the ranges of activations are measured.")
    )
    max_drift_db: float | None = field(
        default=None, metadata=said("Compressed artifacts: least PSNR in dB against the original.")
    )
    min_agreement: float | None = field(
        default=None,
        metadata=said("Compressed artifacts: least top-1 agreement in percent.", minimum=0, maximum=100),
    )
    targets: tuple[str, ...] = field(
        default=("coreml",),
        metadata=said("What to convert to.", minItems=1, items={"type": "string", "enum": list(TARGETS)}),
    )
    precisions: tuple[str, ...] = field(
        default=("fp16",),
        metadata=said(
            "One artifact for each.", minItems=1, items={"type": "string", "examples": ["fp16", "fp32", "int8", "pal6"]}
        ),
    )
    min_ios: int = field(default=16, metadata=said("Oldest iOS of the Core ML artifacts.", enum=list(MIN_IOS)))
    opset: int = field(default=20, metadata=said("ONNX opset.", enum=list(ONNX_OPSETS)))
    batch: int = field(default=1, metadata=said("Images a prediction takes.", minimum=1))
    size: tuple[int, ...] = field(
        default=(),
        metadata=said("Input size in pixels: [side] or [height, width].", maxItems=2,
                      items={"type": "integer", "minimum": 32}),
    )  # fmt: skip
    input: str = field(
        default="tensor", metadata=said("Normalised tensor, or pixels 0 to 255.", enum=["tensor", "image"])
    )
    dynamic_batch: bool = field(default=False, metadata=said("ONNX: any batch size."))
    ort: bool = field(default=False, metadata=said("Also an .ort file beside the .onnx."))
    int8: Int8Options = field(default=Int8Options(), metadata=said("How ONNX int8 is calibrated and quantised."))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry(Shared):
    """One [models.NAME] table."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "oneOf": [{"required": ["checkpoint"]}, {"required": ["untrained"]}],
            "dependentRequired": {"sha256": ["checkpoint"]},
        }
    )

    model: str = field(
        default="", metadata=said('A name of `swiftdeploy models`, "module:factory" or "timm:NAME"; default: NAME.')
    )
    checkpoint: str | None = field(
        default=None, metadata=said('Weights: a file, a folder, or "hf-hub:org/name@revision".', minLength=1)
    )
    sha256: str | None = field(
        default=None, metadata=said("The weights' sha256; anything else is refused.", pattern=r"^[0-9a-f]{64}$(?!\n)")
    )
    untrained: int | None = field(
        default=None,
        metadata=said("No checkpoint: random weights of this seed.", minimum=0, maximum=(1 << 63) - 1),
    )
    baseline: str | None = field(default=None, metadata=said("A bundle or run to compare with.", minLength=1))
    budgets: Budgets = field(default=Budgets(), metadata=said("Limits of this model; each wins over [budgets]."))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """The [reports] table: which reports a run writes, and where."""

    formats: tuple[ReportFormat, ...] = field(
        default=("json", "junit", "sarif", "markdown", "html"), metadata=said("Which reports; run.json always.")
    )
    folder: str = field(default="", metadata=said("Folder of the reports; default: the output folder.", minLength=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings:
    """The [cache] table."""

    max_size: str = field(
        default="10 GB", metadata=said("Older entries go when the cache is larger.", pattern=SIZE_PATTERN)
    )
    folder: str | None = field(
        default=None, metadata=said("Folder of the cache; default: the platform's.", minLength=1)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The file as it is written."""

    models: Mapping[str, ModelEntry] = field(
        metadata=said("One table for each bundle; its name is the bundle's folder.", minProperties=1,
                      propertyNames={"pattern": NAME_PATTERN})
    )  # fmt: skip
    output: str = field(default="dist", metadata=said("Folder that gets the bundles.", minLength=1))
    baseline: str = field(
        default="", metadata=said("A run.json, or a folder of bundles, to compare with.", minLength=1)
    )
    defaults: Shared = field(default=Shared(), metadata=said("What every model takes that does not say otherwise."))
    budgets: Budgets = field(default=Budgets(), metadata=said("Limits of every model."))
    reports: Reports = Reports()
    cache: CacheSettings = CacheSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The whole file, defaults applied. `folder` is where it lies; every path of it is resolved against that.

    `name` is what reports and errors call it.
    """

    folder: Path
    name: str = FILE_NAME
    models: tuple[tuple[str, ModelEntry], ...] = ()
    output: str = "dist"
    baseline: str = ""
    reports: Reports = Reports()
    cache: CacheSettings = CacheSettings()

    def bundle(self, name: str) -> Path:
        """The folder of one model's bundle."""
        return self.folder / self.output / name

    def path(self, name: str | None) -> str | None:
        """A path of the file as this process can open it; hub ids stay what they are."""
        if name is None or name.startswith(HUB):
            return name
        path = Path(name)
        with contextlib.suppress(RuntimeError):  # "~nobody" is then a plain name
            path = path.expanduser()
        return str(self.folder / path)
