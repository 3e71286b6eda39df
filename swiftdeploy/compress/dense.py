"""What the weights of a package are worth, by coremltools' own reader and its own decompression.

The package itself runs through the reference runtime's kernels; its reference must not, or both could be wrong alike.
This is what `decompress_weights` does, but for the package that it writes on the way, which takes ten times as long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.optimize.coreml._quantization_passes import WeightDecompressor
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.compress.weights import stem
from swiftdeploy.errors import ArtifactError

SUFFIXES = ("_sparsified", "_palettized", "_quantized")  # what coremltools appends to the name of what it compressed
_WEIGHTS = "Data/com.apple.CoreML/weights"


def dense_weights(package: Path) -> dict[str, NDArray[Any]]:
    """Every float constant of two values or more, decompressed, under the name that the uncompressed package has.

    Raises ArtifactError where coremltools cannot read or decompress the package.
    """
    try:
        with console.quiet():
            spec = ct.utils.load_spec(str(package))
            program = load(
                spec,
                specification_version=spec.specificationVersion,
                file_weights_dir=str(package / _WEIGHTS),
            )
            WeightDecompressor(op_selector=lambda _: True).apply(program)
            function = program.functions[spec.description.defaultFunctionName or "main"]
            # What compressed weights were made of is still there, and unused.
            constants = [o.outputs[0] for o in function.operations if o.op_type == "const" and o.outputs[0].child_ops]
            values = {constant.name: constant.val for constant in constants}
    except OSError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(
            f"coremltools cannot decompress {package.name}: {reason[0][:200]}", hint="export it again"
        ) from error
    return {_name(name): value for name, value in values.items() if _is_tensor(value)}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1


def _name(constant: str) -> str:
    for suffix in SUFFIXES:
        constant = constant.removesuffix(suffix)
    return stem(constant)
