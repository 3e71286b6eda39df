"""A model description's inputs, outputs and states as `Feature`s.

In: messages of Model.proto and FeatureTypes.proto. Out: one `Interface` a function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil.program import Color, Feature, FeatureKind, Interface

_HINT = "the package is damaged, or declares inputs that ML Programs do not take"
# The codes of FeatureTypes.proto: kind of number in the high half, bits in the low.
_ARRAY_DTYPES = {65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8", 65552: "float16"}
_COLORS: dict[int, Color] = {10: "GRAYSCALE", 20: "RGB", 30: "BGR", 40: "GRAYSCALE_FLOAT16"}
_KINDS: dict[str, FeatureKind] = {
    "multiArrayType": "array",
    "imageType": "image",
    "stateType": "state",
    "stringType": "string",
    "int64Type": "int64",
    "doubleType": "double",
    "dictionaryType": "dictionary",
    "sequenceType": "sequence",
}
_DEFAULTS = ("intDefaultValue", "floatDefaultValue", "doubleDefaultValue")


def read_interfaces(description: Any, default: str) -> Mapping[str, Interface]:
    """The interface of each function: those of a multifunction package, or the one of `default`.

    Raises ArtifactError for a feature that has no known type, or a name that is declared twice.
    """
    # Before iOS18 a package has one function, and the description itself is its interface.
    if not description.functions:
        return {default: _interface(description)}
    found = {function.name: _interface(function) for function in description.functions}
    if len(found) != len(description.functions):
        raise ArtifactError("two functions of the description have one name", hint=_HINT)
    return found


def _interface(message: Any) -> Interface:
    inputs = _features(message.input)
    outputs = _features(message.output, repeated=True)
    states = _features(message.state)
    return Interface(
        inputs=inputs,
        outputs=outputs,
        states=states,
        label=message.predictedFeatureName,
        probabilities=message.predictedProbabilitiesName,
    )


def _features(messages: Iterable[Any], *, repeated: bool = False) -> tuple[Feature, ...]:
    features = tuple(_feature(message) for message in messages)
    if repeated:
        # A model that returns one value twice declares it twice, and Core ML gives it once.
        features = tuple(dict.fromkeys(features))
    if len({feature.name for feature in features}) != len(features):
        raise ArtifactError("the description declares one name twice", hint=_HINT)
    return features


def _feature(message: Any) -> Feature:
    kind = _KINDS.get(message.type.WhichOneof("Type") or "")
    if kind == "array":
        return _array(message.name, kind, message.type.multiArrayType, optional=message.type.isOptional)
    if kind == "state":
        return _array(message.name, kind, message.type.stateType.arrayType, optional=False)
    if kind == "image":
        return _image(message.name, message.type.imageType, optional=message.type.isOptional)
    if kind is None:
        raise ArtifactError(f"the feature {message.name!r} has no type", hint=_HINT)
    return Feature(name=message.name, kind=kind, optional=message.type.isOptional)


def _array(name: str, kind: FeatureKind, array: Any, *, optional: bool) -> Feature:
    dtype = _ARRAY_DTYPES.get(array.dataType)
    if dtype is None:
        raise ArtifactError(f"the feature {name!r} has the unknown dtype {array.dataType}", hint=_HINT)
    default = array.WhichOneof("defaultOptionalValue")
    return Feature(
        name=name,
        kind=kind,
        shape=tuple(int(size) for size in array.shape),
        dtype=dtype,
        optional=optional,
        default=None if default not in _DEFAULTS else float(getattr(array, default)),
        shapes=tuple(tuple(int(size) for size in shape.shape) for shape in array.enumeratedShapes.shapes),
        ranges=tuple((int(r.lowerBound), int(r.upperBound)) for r in array.shapeRange.sizeRanges),
    )


def _image(name: str, image: Any, *, optional: bool) -> Feature:
    color = _COLORS.get(image.colorSpace)
    if color is None:
        raise ArtifactError(f"the image {name!r} has the unknown color space {image.colorSpace}", hint=_HINT)
    sizes = image.imageSizeRange
    ranges: tuple[tuple[int, int], ...] = ()
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        ranges = tuple((int(r.lowerBound), int(r.upperBound)) for r in (sizes.heightRange, sizes.widthRange))
    return Feature(
        name=name,
        kind="image",
        color=color,
        width=int(image.width),
        height=int(image.height),
        optional=optional,
        shapes=tuple((int(size.height), int(size.width)) for size in image.enumeratedSizes.sizes),
        ranges=ranges,
    )
