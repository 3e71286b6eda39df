"""Which versions made a bundle. They change bytes, so the manifest records them; paths and host names do not belong."""

from __future__ import annotations

import importlib.metadata
import platform

from swiftdeploy import __version__

LIBRARIES = ("torch", "coremltools", "onnx", "onnxruntime", "numpy", "protobuf", "safetensors")


def versions() -> dict[str, str]:
    """The version of swiftdeploy, of Python and of every library that shapes the bytes of a bundle."""
    found = {"swiftdeploy": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found
