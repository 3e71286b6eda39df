"""Ranges of a graph's values over calibration images, by ONNX Runtime's calibrators, one image in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from swiftdeploy import console
from swiftdeploy.errors import ConversionError, ModelError, UsageError
from swiftdeploy.quantization import Method

OF_METHOD: Mapping[str, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class _One(CalibrationDataReader):
    """One image, handed out once."""

    def __init__(self, feed: Mapping[str, NDArray[Any]]) -> None:
        self._feeds = iter([dict(feed)])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def check_images(images: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float32]:
    """The calibration images as float32 (N, C, H, W), fit for an input of `shape`, whose free sizes are 0.

    Raises UsageError where there is none, ModelError where one has another shape, NaN or Inf, and says which.
    """
    if len(images) == 0:
        raise UsageError("there is no calibration image", hint="give some dozens of images that the model will meet")
    wanted = (len(images), *shape[1:])
    fits = images.ndim == len(shape) and all(w in (0, s) for w, s in zip(wanted, images.shape, strict=True))
    if not fits:
        raise ModelError(
            f"calibration images have shape {images.shape[1:]}, the model takes {tuple(shape[1:])}",
            hint="prepare them as the model's input is prepared",
        )
    broken = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
    if broken.size:
        raise ModelError(f"calibration image {broken[0]} holds NaN or Inf", hint="leave it out, or prepare it anew")
    return images.astype(np.float32, copy=False)


def ranges(
    model: Path, images: NDArray[np.float32], *, method: Method, percentile: float, types: Sequence[str], work: Path
) -> TensorsData:
    """The range of every input and output of nodes of these op types, over images (N, C, H, W).

    Histograms are merged image by image, so memory does not grow with N. Raises ConversionError for a model whose
    values are not finite on one of the images.
    """
    extra = {"percentile": percentile} if method == "percentile" else {}
    with console.quiet():
        calibrator = create_calibrator(
            model,
            list(types),
            augmented_model_path=str(work / "augmented.onnx"),
            calibrate_method=OF_METHOD[method],
            extra_options=extra,
        )
        (spec,) = calibrator.infer_session.get_inputs()
        batch = spec.shape[0] if isinstance(spec.shape[0], int) else 1
        for index in _widest_first(images):
            calibrator.collect_data(_One({spec.name: np.repeat(images[index : index + 1], batch, axis=0)}))
        found = calibrator.compute_data()
    for name, data in found.items():
        if not np.isfinite(np.asarray(data.range_value)).all():
            raise ConversionError(f"{name} is not finite on the calibration images", hint="verify the fp32 artifact")
    return found


def _widest_first(images: NDArray[np.float32]) -> list[int]:
    """Indices by falling spread.

    The first image fixes the width of a histogram's bins; a blank one would make them so narrow that the next image
    needs millions.
    """
    return np.argsort([-float(image.std()) for image in images], kind="stable").tolist()
