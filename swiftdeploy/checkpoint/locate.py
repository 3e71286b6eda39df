"""Which files a checkpoint consists of, whether the user gave a file or a folder.

A path in, `Files` out. Reads the index of a sharded checkpoint, and no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from swiftdeploy.checkpoint.limits import check_file, read_json
from swiftdeploy.errors import CheckpointError

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# What hubs call the weights, the order being the order of preference: safetensors cannot hold code.
_HUB_NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Weight files, all of one format; which shard holds which key; and the configs beside them."""

    weights: tuple[Path, ...]
    shard_of: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None
    preprocessor: Path | None = None

    @property
    def safetensors(self) -> bool:
        """Whether the weights are in the safetensors format, by their suffix."""
        return self.weights[0].suffix == ".safetensors"


def locate(path: Path) -> Files:
    """The files of the checkpoint at `path`. Raises CheckpointError for what cannot be read or tells no single one."""
    try:
        if path.is_dir():
            names = sorted(entry.name for entry in path.iterdir())
            return _in_folder(path, names)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {error.strerror or error}", hint="check the path and its permissions"
        ) from error
    # A config belongs to a file of its hub's name; beside any other file it may describe something else.
    return _files(path, beside=path.name in _HUB_NAMES)


def _in_folder(folder: Path, names: list[str]) -> Files:
    for name in _HUB_NAMES:
        if name in names:
            return _files(folder / name, beside=True)
    weights = [name for name in names if name.endswith(_WEIGHT_SUFFIXES)]
    # Training folders hold one file under any name; with several, a guess could pick the wrong epoch.
    if len(weights) == 1:
        return _files(folder / weights[0], beside=True)
    if weights:
        raise CheckpointError(
            f"{folder.name} holds {len(weights)} weight files: {', '.join(weights[:5])}", hint="name the one you mean"
        )
    raise CheckpointError(
        f"{folder.name} holds no weights",
        hint="a folder needs model.safetensors, pytorch_model.bin or one .safetensors, .pth, .pt or .bin file",
    )


def _files(path: Path, *, beside: bool) -> Files:
    config, preprocessor = path.with_name(_CONFIG), path.with_name(_PREPROCESSOR)
    shards: dict[str, str] = {}
    weights: tuple[Path, ...] = (path,)
    if path.name.endswith(".index.json"):
        shards = _shards(path)
        weights = tuple(path.with_name(name) for name in sorted(set(shards.values())))
    for file in weights:
        check_file(file)
    return Files(
        weights=weights,
        shard_of=shards,
        config=config if beside and config.exists() else None,
        preprocessor=preprocessor if beside and preprocessor.exists() else None,
    )


def _shards(index: Path) -> dict[str, str]:
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{index.name} has no weight_map", hint="copy or download it again")
    for name in mapping.values():
        # A shard named "../x" would read outside the folder.
        if not isinstance(name, str) or PurePath(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise CheckpointError(
                f"{index.name} names the shard {name!r}",
                hint="shards are files beside the index; do not trust this one",
            )
    # One reader serves all shards, and a pickle must not slip in among safetensors.
    if len({PurePath(name).suffix for name in mapping.values()}) != 1:
        raise CheckpointError(f"{index.name} mixes formats", hint="copy or download it again")
    return mapping
