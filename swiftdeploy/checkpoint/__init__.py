"""Weights on disk become a strict, provenance-carrying module.

`load` reads hostile files into a `Checkpoint`; `build` and `build_untrained` make a `Loaded` module of it.
"""

from swiftdeploy.checkpoint.build import build, build_untrained
from swiftdeploy.checkpoint.load import load
from swiftdeploy.checkpoint.values import Checkpoint, Loaded

__all__ = ["Checkpoint", "Loaded", "build", "build_untrained", "load"]
