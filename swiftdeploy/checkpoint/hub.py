"""Checkpoints on the Hugging Face hub, through huggingface_hub and its cache."""

from __future__ import annotations

import re
from pathlib import Path

from swiftdeploy.errors import CheckpointError, importing

PREFIX = "hf-hub:"

_FORM = re.compile(r"hf-hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# By name, never "*": a repository may hold gigabytes of other formats, and code.
_CONFIGS = ["config.json", "preprocessor_config.json"]
_SAFETENSORS = ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"]
_PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"]


def fetch(source: str, *, cache_dir: str | None) -> Path:
    """The folder in the cache with the config and weights of "hf-hub:org/name[@revision]".

    Safetensors are preferred; pickles are fetched only where there are none. Raises CheckpointError where the
    repository cannot be reached and is not in the cache, DependencyError without huggingface_hub.
    """
    match = _FORM.fullmatch(source)
    if match is None:
        raise CheckpointError(f"{source!r} is no hub id", hint="write hf-hub:org/name or hf-hub:org/name@revision")
    what = f"{source} needs huggingface_hub, which does not import"
    with importing(what, hint='install the extra: pip install "swiftdeploy-toolchain[hub]"'):
        # Optional, and slow to import: only hub ids pay for it.
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def snapshot(patterns: list[str]) -> Path:
        found = huggingface_hub.snapshot_download(
            match["repo"], revision=match["revision"], cache_dir=cache_dir, allow_patterns=patterns
        )
        return Path(found)

    try:
        # Offline, the client answers with the cached folder, or raises LocalEntryNotFoundError.
        folder = snapshot(_CONFIGS + _SAFETENSORS)
        if not any(folder.glob("model*.safetensors")):
            folder = snapshot(_CONFIGS + _PICKLES)
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{source} is not in the cache, and the hub cannot be reached",
            hint="connect once, or copy the folder here and give its path",
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise CheckpointError(
            f"the hub has no such model or refuses it: {source} ({type(error).__name__})",
            hint="check the name, the revision and your access to it",
        ) from error
    except Exception as error:
        # Whatever the transport raises; its classes change with the HTTP library that the hub's client uses.
        reason = getattr(error, "strerror", None) or str(error).split("\n", 1)[0] or type(error).__name__
        raise CheckpointError(
            f"{source} could not be fetched: {reason}",
            hint="check the connection and the space on disk, or give a folder",
        ) from error
    return folder
