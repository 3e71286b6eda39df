"""Core ML's protobuf messages as coremltools generates them, without the three seconds that importing it takes.

Only its `proto` folder is loaded, under a name of our own. protobuf keeps one class a message, so messages of this
module and of a `coremltools` that is imported later are of the same types.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from google.protobuf.message import DecodeError

from swiftdeploy.errors import DependencyError

__all__ = ("DecodeError", "load")

_PACKAGE = "swiftdeploy_coreml_messages"


def load(name: str) -> ModuleType:
    """The generated module `name`, such as "Model_pb2". Raises DependencyError where coremltools is not installed."""
    if _PACKAGE not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or not found.submodule_search_locations:
            raise DependencyError("coremltools is not installed", hint="pip install 'coremltools>=9.0,<10'")
        folder = Path(found.submodule_search_locations[0]) / "proto"
        # The generated modules import each other relatively, so that a package of any name will do.
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(folder)]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")
