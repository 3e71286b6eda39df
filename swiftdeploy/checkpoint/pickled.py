"""What torch.save wrote, read without running any of it.

A file in, the unpickled object out. The archive is inspected before torch sees it, and torch unpickles with
`weights_only=True` and a short allow-list, so a pickle that names any other function or class is refused unread.
"""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swiftdeploy.checkpoint.limits import PICKLE_BYTES, TENSORS
from swiftdeploy.errors import CheckpointError

# What training scripts store beside the weights: their arguments, and numpy's scalars for accuracies and losses.
_ALLOWED: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int32DType,
    np.dtypes.Int64DType,
    np.dtypes.BoolDType,
    # numpy 1 and numpy 2 pickle a scalar's constructor under different names.
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]
_HOSTILE = "nothing was executed; convert it to .safetensors where you trust it, or ask its author for one"
_DAMAGED = "copy or download it again"


def read_pickled(path: Path) -> tuple[Any, str]:
    """The object that torch.save wrote to `path`, tensors on the CPU, and the format ("pytorch", "pytorch-legacy").

    Raises CheckpointError for a damaged, compressed or oversized archive, for TorchScript, and for a pickle that
    needs anything but tensors, containers, numbers and texts.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    # The suffix says nothing: .pth files are archives since torch 1.6 and bare pickles before.
    zipped = magic == b"PK\x03\x04"
    if zipped:
        _inspect(path)
    elif not magic.startswith(b"\x80"):
        raise CheckpointError(f"{path.name} is neither a PyTorch nor a safetensors file", hint=_DAMAGED)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
            warnings.simplefilter("ignore")
            # Only archives can be mapped; mapping leaves optimizer states on disk.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except Exception as error:
        # A damaged stream reaches every corner of the unpickler; fuzzing found nine kinds of exception.
        raise CheckpointError(f"{path.name} is damaged: {_first_line(error)}", hint=_DAMAGED) from error
    return loaded, "pytorch" if zipped else "pytorch-legacy"


def _inspect(path: Path) -> None:
    """Refuse an archive that torch.save cannot have written (it never compresses, never repeats bytes), or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())
            # torch.load skips the checksums, so a flipped bit in a weight would pass unseen.
            broken = archive.testzip()
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path.name} is a damaged archive: {_first_line(error)}", hint=_DAMAGED) from error
    if broken is not None:
        raise CheckpointError(f"{path.name} is damaged: {broken} does not match its checksum", hint=_DAMAGED)


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = {entry.filename.split("/", 1)[-1] for entry in entries}
    # torch.load would hand such a file to the TorchScript loader, which is another thing to trust.
    if "constants.pkl" in names:
        raise CheckpointError(
            f"{path.name} is a TorchScript program, not a checkpoint", hint="save model.state_dict() instead"
        )
    if "data.pkl" not in names:
        raise CheckpointError(f"{path.name} is an archive without weights", hint="give what torch.save wrote")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path.name} holds compressed entries, which torch.save never writes", hint=_HOSTILE)
    if sum(entry.file_size for entry in entries) > path.stat().st_size or len(entries) > 2 * TENSORS:
        raise CheckpointError(f"{path.name} unpacks to more than its own size", hint=_HOSTILE)
    if any(entry.file_size > PICKLE_BYTES for entry in entries if entry.filename.endswith("data.pkl")):
        raise CheckpointError(f"{path.name} holds a pickle of over {PICKLE_BYTES:,} bytes", hint=_HOSTILE)


def _refusal(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    # torch's message advises weights_only=False at length; only the name of what was refused is of use here.
    text = str(error)
    for mark in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL ", "unsupported class "):
        if mark in text:
            name = text.split(mark, 1)[1].split(maxsplit=1)[0].rstrip(".,")
            return CheckpointError(f"{path.name} is a pickle that needs code: {name}", hint=_HOSTILE)
    if "instruction" in text or "Unsupported" in text:
        return CheckpointError(f"{path.name} is a pickle that needs more than weights", hint=_HOSTILE)
    return CheckpointError(f"{path.name} is damaged: {_first_line(error)}", hint=_DAMAGED)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
