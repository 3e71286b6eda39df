"""What is asked for: models, inputs, preprocessing and export options, as frozen values.

Everything that crosses a stage is one of these or one of `report`'s. Values are checked when they are
made. `to_plain` and `from_plain` are the one codec between them and JSON; standard library only.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from swiftdeploy import precision as precision_table
from swiftdeploy.errors import UsageError
from swiftdeploy.quantization import Int8Options
from swiftdeploy.recipe import Recipe

TargetName = Literal["coreml", "onnx"]
Precision = str  # a name that `precision.parse` knows
InputKind = Literal["tensor", "image"]
Attention = Literal["sum", "token_l2"]

T = typing.TypeVar("T")

TARGETS: tuple[TargetName, ...] = ("coreml", "onnx")
ATTENTIONS: tuple[Attention, ...] = ("sum", "token_l2")
MIN_IOS = (15, 16, 17, 18, 26)
ONNX_OPSETS = (17, 18, 19, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """Name, shape (NCHW for images) and numpy dtype name of one input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How training turned an image file into the model's input: resize, crop, scale to 0..1, (x - mean) / std.

    `resize` is the length of the shorter side in pixels, or with `squash` of both sides; `crop` is the side of the
    centre crop in pixels.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    squash: bool = False
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or any(s <= 0 for s in self.std):
            raise UsageError(
                f"preprocessing needs one positive std for each mean, got mean {self.mean} and std {self.std}",
                hint="give as many means as channels, and a positive std for each",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A figure that somebody else published; never a measurement of ours."""

    metric: Literal["top1_percent", "top5_percent", "latency_ms"]
    value: float
    source: str
    device: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One row of a catalog. `factory` and `reader` are "module:function" strings, resolved late.

    factory(**arguments) -> torch.nn.Module in the architecture's own key names
    reader(state, *, config, attention) -> Reading
    """

    name: str
    factory: str
    family: str
    paper: str
    reader: str = ""
    channels: int = 3
    input_size: int = 224
    num_classes: int = 1000
    parameters: int = 0
    macs: int = 0
    attention: tuple[Attention, ...] = ()
    preprocessing: Preprocessing = Preprocessing(resize=256, crop=224)
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What an architecture's reader makes of a state dict: renamed keys, factory arguments, and why."""

    naming: str
    state: Mapping[str, Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    conclusions: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """Texts that Core ML and Xcode show beside the model."""

    author: str = ""
    license: str = ""
    version: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """What one export produces. Every combination that cannot work is refused here.

    `recipes` are the contents of the recipe files among the precisions, `int8` is how ONNX quantises. A compressed
    artifact must have a PSNR of `max_drift_db` against the oracle, and its best class on `min_agreement` percent of
    samples, where these are set.
    """

    targets: tuple[TargetName, ...] = ("coreml",)
    precisions: tuple[Precision, ...] = ("fp16",)
    min_ios: int = 16
    opset: int = 20
    batch: int = 1
    input_size: tuple[int, int] | None = None
    input_kind: InputKind = "tensor"
    dynamic_batch: bool = False
    ort: bool = False
    fuse: bool = True
    verify: bool = True
    labels: tuple[str, ...] = ()
    metadata: Metadata = Metadata()
    recipes: tuple[Recipe, ...] = ()
    max_drift_db: float | None = None
    min_agreement: float | None = None
    int8: Int8Options = field(default=Int8Options())

    def __post_init__(self) -> None:
        _one_of("target", self.targets, TARGETS)
        _one_of("--min-ios", (self.min_ios,), MIN_IOS)
        _one_of("--opset", (self.opset,), ONNX_OPSETS)
        _one_of("--input", (self.input_kind,), ("tensor", "image"))
        if not self.targets or not self.precisions:
            raise UsageError("nothing to export", hint="name at least one --target and one --precision")
        for name in self.precisions:
            known = precision_table.parse(name)
            targets = known.targets
            if known.kind == "auto" and not self.verify:
                raise UsageError("precision 'auto' is found by verifying", hint="leave --no-verify out")
            if not set(targets) & set(self.targets):
                raise UsageError(
                    f"precision {name!r} is for {' and '.join(targets)}, which is no --target here",
                    hint=f"add --target {targets[0]}, or leave the precision out",
                )
            self._check_recipe(name)
        self._check_int8()
        budgeted = self.max_drift_db is not None or self.min_agreement is not None
        if budgeted and not (self.verify and any(precision_table.parse(name).compressed for name in self.precisions)):
            raise UsageError(
                "a drift budget judges compressed artifacts that are verified, and there is none",
                hint="leave --max-drift and --min-agreement out, or --no-verify, or add --precision int8",
            )
        if self.max_drift_db is not None and not math.isfinite(self.max_drift_db):
            raise UsageError(f"a drift of {self.max_drift_db} dB cannot be", hint="--max-drift takes a number of dB")
        if self.min_agreement is not None and not 0.0 <= self.min_agreement <= 100.0:
            raise UsageError(f"an agreement of {self.min_agreement} % cannot be", hint="--min-agreement takes 0 to 100")
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} is not positive", hint="use --batch 1 or more")
        if self.input_size is not None and min(self.input_size) < 32:
            raise UsageError(f"input size {self.input_size} is under 32 px", hint="use --size 32 or more")
        if self.dynamic_batch and "onnx" not in self.targets:
            raise UsageError("a dynamic batch is for ONNX only", hint="add --target onnx, or use --batch N")
        if self.input_kind == "image" and self.batch != 1:
            raise UsageError("a Core ML image input holds one image", hint="use --batch 1 with --input image")

    def _check_int8(self) -> None:
        """Refuse options of a quantisation that does not take place, and a form of GELU that the opset lacks."""
        if self.int8 != Int8Options() and ("onnx", "int8") not in self.matrix:
            raise UsageError(
                "these options quantise to ONNX int8, which is not asked for",
                hint="add --target onnx --precision int8, or leave --int8 out",
            )
        least = self.int8.least_opset
        if self.opset < least:
            raise UsageError(
                f"GELU's form {self.int8.gelu!r} needs opset {least}, and {self.opset} is asked for",
                hint=f"use --opset {least}",
            )

    def recipe(self, name: Precision) -> Recipe | None:
        """How Core ML stores the weights of that precision; None where it stores them as it computes."""
        given = {recipe.name: recipe for recipe in self.recipes}
        known = precision_table.parse(name)
        return known.recipe or given.get(known.slug if name != known.slug else "")

    def _check_recipe(self, name: Precision) -> None:
        """Refuse a recipe file that was not read or whose name is taken, and a precision newer than --min-ios."""
        known, recipe = precision_table.parse(name), self.recipe(name)
        if known.slug != name:
            check_recipe_name(known.slug)
            read = sum(given.name == known.slug for given in self.recipes)
            if read != 1:
                what = f"stands for {read} different files" if read else "was not read"
                raise UsageError(f"the recipe {name} {what}", hint="give each recipe file a name of its own")
        least = max(
            known.needs["coreml"].least_ios if "coreml" in known.needs else 0, recipe.least_ios if recipe else 0
        )
        if "coreml" in self.targets and "coreml" in known.needs and least > self.min_ios:
            raise UsageError(
                f"precision {name!r} needs iOS {least}, and the artifact is for iOS {self.min_ios}",
                hint=f"use --min-ios {least}, or a precision that iOS {self.min_ios} reads",
            )

    @property
    def matrix(self) -> tuple[tuple[TargetName, Precision], ...]:
        """The artifacts to write: every target with every precision that it has."""
        return tuple(
            (target, name)
            for target in self.targets
            for name in self.precisions
            if target in precision_table.parse(name).targets
        )


def check_recipe_name(stem: str) -> None:
    """Raise UsageError for a recipe that is named as a precision is: its artifact would pass for that precision's.

    Case does not tell them apart, as it does not on a Mac's usual file system.
    """
    try:
        known = precision_table.parse(stem.lower())
    except UsageError:
        return
    raise UsageError(
        f"the recipe {stem}.toml has the name of the precision {known.name!r}: its artifact would pass for that one",
        hint=f"give it another name, such as my-{stem}.toml",
    )


def _one_of(what: str, values: tuple[object, ...], allowed: tuple[object, ...]) -> None:
    for value in values:
        if value not in allowed:
            names = ", ".join(str(a) for a in allowed)
            raise UsageError(f"{what} {value!r} is not known", hint=f"choose from {names}")


def to_plain(value: Any) -> Any:
    """The JSON form of a value of ours: dataclasses become objects, tuples arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(cls: type[T], plain: Any) -> T:
    """The value of type `cls` that `to_plain` wrote as `plain`. Raises ValueError where the form does not fit."""
    return _decode(cls, plain, cls.__name__)


def _decode(kind: Any, plain: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return plain
    if dataclasses.is_dataclass(kind):
        return _decode_object(kind, plain, where)
    if origin in (typing.Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), plain, where)
    if origin is tuple:
        if not isinstance(plain, list):
            raise ValueError(f"{where}: expected an array, found {type(plain).__name__}")
        kinds = [arguments[0]] * len(plain) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(plain):
            raise ValueError(f"{where}: expected {len(kinds)} items, found {len(plain)}")
        return tuple(_decode(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, plain, strict=True)))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(plain, dict):
            raise ValueError(f"{where}: expected an object, found {type(plain).__name__}")
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in plain.items()}
    if origin is Literal:
        if plain not in arguments:
            raise ValueError(f"{where}: {plain!r} is none of {', '.join(map(str, arguments))}")
        return plain
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError as error:
            raise ValueError(f"{where}: the number is too large") from error
    if isinstance(kind, type) and (not isinstance(plain, kind) or (isinstance(plain, bool) and kind is not bool)):
        raise ValueError(f"{where}: expected {kind.__name__}, found {type(plain).__name__}")
    return plain


def _decode_object(kind: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise ValueError(f"{where}: expected an object, found {type(plain).__name__}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(plain) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}")
    required = [
        name
        for name, f in known.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in plain]
    if missing:
        raise ValueError(f"{where}: missing key {missing[0]!r}")
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in plain.items()})
