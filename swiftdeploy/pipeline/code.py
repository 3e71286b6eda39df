"""One digest of the code that a model consists of, independent of where that code lies."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from swiftdeploy import catalog
from swiftdeploy.bundle import sha256_of, tree_digest
from swiftdeploy.checkpoint.timm_models import PREFIX
from swiftdeploy.report import FileRecord

_VERSIONED = frozenset({"torch", "builtins"})  # the manifest has their versions


def code_digest(module: nn.Module, factory: str) -> str:
    """The tree digest of the source files of every class in `module`, their bases, and the "module:factory" itself.

    torch is left out; its version says what it is. Files are named by their module, so that the same code in another
    folder has the same digest. What those files import and merely call is not covered.
    """
    files = {}
    for source in _modules(module, factory):
        path = _source(source)
        if path is not None:
            name = f"{source.__name__.replace('.', '/')}.py"
            files[name] = FileRecord(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))
    return tree_digest(files.values()) if files else ""


def _modules(module: nn.Module, factory: str) -> Iterator[ModuleType]:
    names = {base.__module__ for child in module.modules() for base in type(child).__mro__}
    if not factory.startswith(PREFIX):
        names.add(catalog.resolve(factory).__module__)
    for name in sorted(names):
        if name.split(".")[0] not in _VERSIONED and name in sys.modules:
            yield sys.modules[name]


def _source(module: ModuleType) -> Path | None:
    """The file of a module, None for one that has none, such as a session's own."""
    try:
        path = inspect.getsourcefile(module)
    except TypeError:
        return None
    return Path(path) if path is not None and Path(path).is_file() else None
