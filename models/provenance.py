"""What a config beside the weights says: whose model it describes, and how images were prepared for it.

Config in, values out; knows no architecture and no torch. Fields are those that Hugging Face transformers and timm
write next to the weights on the hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from swiftdeploy.errors import CheckpointError
from swiftdeploy.spec import Preprocessing

Origin = Literal["hf", "timm"]

# PIL's resampling filters, by the number that image processors store.
_RESAMPLING: Mapping[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def origin_of(config: Mapping[str, Any] | None) -> Origin | None:
    """Whose config it is: "timm", "hf" (transformers), or None without one and for anything else."""
    if not config:
        return None
    # First, because transformers' wrapper around timm writes a model_type as well, and its weights are timm's.
    if "pretrained_cfg" in config or isinstance(config.get("architecture"), str):
        return "timm"
    if "model_type" in config or "architectures" in config:
        return "hf"
    return None


def hf_preprocessing(config: Mapping[str, Any] | None, *, size: int = 224) -> Preprocessing:
    """How transformers prepares images: both sides resized at once, no crop, unless preprocessor_config.json differs.

    `size` is the side in pixels where no file says it. Raises CheckpointError for a resampling that is neither
    bilinear nor bicubic.
    """
    stored = dict((config or {}).get("preprocessor_config") or {})
    sides = stored.get("size", size)
    if isinstance(sides, Mapping):
        # "height" and "width" ask for both sides, which distorts; "shortest_edge" keeps the aspect.
        squash = "shortest_edge" not in sides
        side = int(sides.get("shortest_edge", sides.get("height", size)))
    else:
        squash, side = True, int(sides)
    crop_size = stored.get("crop_size", side)
    cropped = int(crop_size["height"] if isinstance(crop_size, Mapping) else crop_size)
    resample = stored.get("resample", 2)
    if resample not in _RESAMPLING:
        raise CheckpointError(
            f"preprocessor_config.json resamples with filter {resample!r}",
            hint="bilinear (2) and bicubic (3) are known; remove the file to use the default",
        )
    return Preprocessing(
        resize=side,
        # A crop_size is stored even where cropping is off.
        crop=cropped if stored.get("do_center_crop") else side,
        interpolation=_RESAMPLING[resample],
        squash=squash,
        mean=_floats(stored.get("image_mean"), _IMAGENET_MEAN),
        std=_floats(stored.get("image_std"), _IMAGENET_STD),
    )


def timm_preprocessing(
    config: Mapping[str, Any] | None,
    *,
    size: int = 224,
    crop_pct: float = 0.95,
    mean: tuple[float, ...] = _IMAGENET_MEAN,
    std: tuple[float, ...] = _IMAGENET_STD,
) -> Preprocessing:
    """How timm prepares images: the shorter side to floor(size / crop_pct) pixels, then a centre crop.

    The arguments hold where no pretrained_cfg says otherwise. Raises CheckpointError for an interpolation that is
    neither bilinear nor bicubic.
    """
    stored = dict((config or {}).get("pretrained_cfg") or {})
    side = int((stored.get("input_size") or (3, size, size))[-1])
    interpolation = stored.get("interpolation", "bicubic")
    if interpolation not in ("bilinear", "bicubic"):
        raise CheckpointError(
            f"pretrained_cfg interpolates by {interpolation!r}", hint="bilinear and bicubic are known"
        )
    return Preprocessing(
        # timm rounds down: 224 / 0.95 is 235.
        resize=int(side / float(stored.get("crop_pct") or crop_pct)),
        crop=side,
        interpolation=interpolation,
        mean=_floats(stored.get("mean"), mean),
        std=_floats(stored.get("std"), std),
    )


def _floats(values: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(value) for value in values) if values else default
