"""The reference runtime: a saved Core ML ML Program, read from disk and run with torch kernels.

program = swiftdeploy.mil.load_program("model.mlpackage")
outputs = program.predict({"image": array})
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swiftdeploy.mil.model import LoadedProgram

__all__ = ("load_program",)


def load_program(path: str | Path, function_name: str | None = None) -> LoadedProgram:
    """The function `function_name` (default: the package's own default) of the .mlpackage at `path`, ready to predict.

    Its `predict(inputs, state=None, observe=None)` answers as Core ML's own does. Raises ArtifactError for a damaged
    package or ops that are not known (all are listed), ModelError for a function that is not there.
    """
    from swiftdeploy.mil import model

    return model.load_program(path, function_name)
