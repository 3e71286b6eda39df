"""What the weights of a compressed package are worth, by coremltools' own decompression.

The package itself runs through the reference runtime's kernels; its reference must not, or both could be wrong alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.optimize import coreml as cto
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.compress.weights import stem
from swiftdeploy.errors import ArtifactError

SUFFIXES = ("_sparsified", "_palettized", "_quantized")  # what coremltools appends to the name of what it compressed


def dense_weights(package: Path) -> dict[str, NDArray[Any]]:
    """Every float constant of two values or more, decompressed, under the name that the uncompressed package has.

    Raises ArtifactError where coremltools cannot decompress the package.
    """
    try:
        with console.quiet():
            model = ct.models.MLModel(str(package), skip_model_load=True)
            found = cto.get_weights_metadata(cto.decompress_weights(model), weight_threshold=2)
    except OSError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(
            f"coremltools cannot decompress {package.name}: {reason[0][:200]}", hint="export it again"
        ) from error
    return {_name(name): data.val for name, data in found.items() if data.val.dtype.kind == "f"}


def _name(constant: str) -> str:
    for suffix in SUFFIXES:
        constant = constant.removesuffix(suffix)
    return stem(constant)
