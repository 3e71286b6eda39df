"""What a folder's swiftdeploy.toml names, for commands that were given no bundle."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.config import FILE_NAME, Config, read_config
from swiftdeploy.errors import UsageError


def configured(command: str) -> Config:
    """The configuration of this folder. Raises UsageError where there is none, so that `command` has nothing to do."""
    path = Path(FILE_NAME)
    if not path.is_file():
        raise UsageError(
            f"nothing to {command}: no path is given, and this folder has no {FILE_NAME}",
            hint=f"swiftdeploy {command} dist/NAME",
        )
    return read_config(path)


def configured_bundles(command: str) -> list[Path]:
    """The folder of every bundle that the configuration names, in its order. Raises as `configured` does."""
    config = configured(command)
    return [config.bundle(name) for name, _ in config.models]
