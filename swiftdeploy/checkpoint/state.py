"""From whatever a training script saved to a flat mapping of sound tensors.

An unpickled object in, tensors out; knows no files and no architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from swiftdeploy.checkpoint.limits import FILE_BYTES, TENSORS
from swiftdeploy.errors import CheckpointError

# Entries of training files that hold weights. The official evaluation takes `model`, not its moving average.
_CONTAINERS = ("model", "state_dict", "model_state_dict", "net", "model_ema", "state_dict_ema", "ema")
# What wrappers put before every key: DataParallel and EMA, torch.compile, Lightning and others.
_PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.", "ema.", "net.")
# Bookkeeping of wrappers that stands beside the wrapped keys.
_BOOKKEEPING = ("n_averaged",)
_DTYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def unwrap(loaded: Any, name: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The state dict within what `name` held, and a note where it had to be chosen among other entries.

    Raises CheckpointError where there is none.
    """
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{name} holds a {type(loaded).__name__}, not a state dict", hint="save model.state_dict() instead"
        )
    # Tensors on top are a flat state dict, even where one of its entries is called "model".
    if not any(isinstance(value, Tensor) for value in loaded.values()):
        for entry in _CONTAINERS:
            inner = loaded.get(entry)
            if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
                others = ", ".join(sorted(str(key) for key in loaded if key != entry))
                return inner, (f"weights are entry {entry!r}" + (f", beside {others}" if others else ""),)
        entries = ", ".join(repr(key) for key in list(loaded)[:8]) or "none"
        raise CheckpointError(
            f"{name} holds no weights (entries: {entries})", hint="save model.state_dict(), flat or as entry 'model'"
        )
    return loaded, ()


def sound(state: Mapping[str, Any], name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Own, plain, finite CPU tensors, and the names of entries that are no tensors.

    Raises CheckpointError for NaN, infinity, dtypes and layouts that no module of weights has, and for tensors that
    claim more elements than are stored.
    """
    ignored: list[str] = []
    tensors: dict[str, Tensor] = {}
    total = 0
    if len(state) > TENSORS:
        raise CheckpointError(f"{name} has {len(state):,} entries", hint="is this the checkpoint you mean?")
    for key, value in state.items():
        if not isinstance(key, str):
            raise CheckpointError(
                f"{name} has the key {key!r}, which is no text", hint="save model.state_dict() instead"
            )
        if not isinstance(value, Tensor) or key in _BOOKKEEPING:
            ignored.append(key)
            continue
        _check_form(value, key, name)
        # Many small keys may still share one large storage, and each becomes a copy.
        total += value.nbytes
        if total > FILE_BYTES:
            raise CheckpointError(f"{name} holds over {FILE_BYTES:,} bytes", hint="is this the checkpoint you mean?")
        # A copy of its own: mapped files may change under us, and views keep optimizer states alive.
        tensors[key] = value.detach().clone(memory_format=torch.contiguous_format)
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"{name}: {key} has {bad:,} of {value.numel():,} values that are NaN or infinite",
                hint="training diverged before this was saved; use an earlier checkpoint",
            )
    return tensors, tuple(ignored)


def _check_form(value: Tensor, key: str, name: str) -> None:
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.dtype not in _DTYPES:
        raise CheckpointError(
            f"{name}: {key} is {value.dtype} ({value.layout}), which no float module loads",
            hint="give the float checkpoint; compression is a step of the export",
        )
    # An expanded tensor of a few stored bytes may claim terabytes.
    if value.nbytes > value.untyped_storage().nbytes():
        raise CheckpointError(
            f"{name}: {key} claims {value.nbytes:,} bytes and stores {value.untyped_storage().nbytes():,}",
            hint="nothing was executed; do not trust this file",
        )


def strip_prefixes(state: Mapping[str, Tensor]) -> tuple[tuple[Mapping[str, Tensor], str], ...]:
    """The state with ever more of the prefixes that wrappers give to all keys stripped, and what was stripped.

    The first is the state as it is, with ""; the last has no such prefix left.
    """
    stages: list[tuple[Mapping[str, Tensor], str]] = [(state, "")]
    while True:
        current, removed = stages[-1]
        prefix = next((p for p in _PREFIXES if current and all(key.startswith(p) for key in current)), None)
        if prefix is None:
            return tuple(stages)
        stages.append(({key.removeprefix(prefix): value for key, value in current.items()}, removed + prefix))
