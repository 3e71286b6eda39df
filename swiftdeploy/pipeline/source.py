"""Which source text a model is made of, found without importing it, and its digest: changed code is another model."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


def package_digest(name: str) -> str:
    """The digest of every Python file of an importable package or module, "" where there is none."""
    origin = _origin(name, ())
    if origin is None:
        return ""
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    return _digest(origin.parent, files)


def model_digest(factory: str, folder: Path) -> str:
    """The digest of the source behind "module:factory", "" for a module that is not to be found.

    It covers the module, the packages around it, and what these import from the same place: the working `folder`, or
    for an installed module its own package. What lies further off counts by its version.
    """
    module = factory.partition(":")[0]
    top = module.partition(".")[0]
    origin = _origin(top, (str(folder),))
    if origin is None:
        return ""
    root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    if _INSTALLED & set(root.parts):
        return package_digest(top)
    return _digest(root, _reached(root, module))


def _origin(name: str, first: tuple[str, ...]) -> Path | None:
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, [*first, *sys.path]) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _reached(root: Path, module: str) -> list[Path]:
    """Every file below `root` that importing `module` reads, as far as import statements say."""
    waiting, found = [module], dict[Path, None]()
    while waiting:
        for file, package in _files(root, waiting.pop()):
            if file not in found:
                found[file] = None
                waiting.extend(_imports(file, package))
    return sorted(found)


def _files(root: Path, module: str) -> Iterator[tuple[Path, str]]:
    """The files of a dotted module and of the packages around it, each with the package that it is in."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py", ".".join(parts[:length])
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py"), ".".join(parts[: length - 1])


def _imports(file: Path, package: str) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return  # importing it will say so
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names if base)


def _digest(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        text = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()
