"""A path or a hub id becomes a `Checkpoint`; the one door for weights, trusted or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from swiftdeploy.checkpoint.hub import PREFIX, fetch
from swiftdeploy.checkpoint.limits import read_json, sha256_of
from swiftdeploy.checkpoint.locate import Files, locate
from swiftdeploy.checkpoint.pickled import read_pickled
from swiftdeploy.checkpoint.state import sound, unwrap
from swiftdeploy.checkpoint.values import Checkpoint
from swiftdeploy.errors import CheckpointError


def load(source: str, *, cache_dir: str | None = None) -> Checkpoint:
    """The weights at `source`: a file, a folder, or "hf-hub:org/name[@revision]" (kept under `cache_dir`).

    Official training files and flat state dicts, Hugging Face and timm folders, single or sharded, pickled or
    safetensors. Nothing in them is executed. Raises CheckpointError for anything that is no sound set of weights,
    DependencyError where a hub id needs huggingface_hub and it is missing.
    """
    if source.startswith(PREFIX):
        path, name = fetch(source, cache_dir=cache_dir), source
    else:
        path = Path(source).expanduser()
        # "." and "/" have no name of their own, and the path itself must not reach a manifest.
        name = path.name or path.resolve().name
    files = locate(path)
    state: dict[str, Any] = {}
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    formats = set()
    for file in files.weights:
        entries, kind, chosen = _read(file)
        tensors, others = sound(entries, file.name)
        _check_shard(file, tensors, state, files)
        state.update(tensors)
        ignored, notes = ignored + others, notes + chosen
        formats.add(kind)
    # An index that promises more than the shards hold means an incomplete download.
    lost = sorted(set(files.shard_of) - set(state))
    if lost:
        raise CheckpointError(
            f"{name}: the shards lack {len(lost)} keys of the index, first {lost[0]}", hint="download all shards again"
        )
    return Checkpoint(
        state=state,
        source=name,
        sha256=digest_of(files.weights),
        format=formats.pop() + ("-sharded" if len(files.weights) > 1 else ""),
        config=_config(files),
        ignored=ignored,
        notes=notes,
    )


def _read(file: Path) -> tuple[Mapping[str, Any], str, tuple[str, ...]]:
    if file.suffix == ".safetensors":
        try:
            return load_file(file, device="cpu"), "safetensors", ()
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{file.name} is damaged: {str(error).splitlines()[0][:160]}", hint="copy or download it again"
            ) from error
    loaded, kind = read_pickled(file)
    inner, notes = unwrap(loaded, file.name)
    return inner, kind, notes


def _check_shard(file: Path, tensors: Mapping[str, Any], state: Mapping[str, Any], files: Files) -> None:
    twice = sorted(set(tensors) & set(state))
    if twice:
        raise CheckpointError(f"{file.name} repeats {twice[0]} of another shard", hint="download all shards again")
    if files.shard_of:
        strays = sorted(key for key in tensors if files.shard_of.get(key) != file.name)
        if strays:
            raise CheckpointError(
                f"{file.name} holds {strays[0]}, which the index puts elsewhere", hint="download all shards again"
            )


def digest_of(weights: tuple[Path, ...]) -> str:
    """The sha256 of a weights file; of several shards that of the list that `sha256sum` prints of them."""
    if len(weights) == 1:
        return sha256_of(weights[0])
    lines = "".join(f"{sha256_of(file)}  {file.name}\n" for file in sorted(weights))
    return hashlib.sha256(lines.encode()).hexdigest()


def _config(files: Files) -> dict[str, Any] | None:
    config = read_json(files.config) if files.config else None
    if files.preprocessor:
        config = {**(config or {}), "preprocessor_config": read_json(files.preprocessor)}
    return config
