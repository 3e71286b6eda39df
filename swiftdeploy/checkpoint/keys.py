"""How a checkpoint's keys meet a module's: strictly, and with every difference on record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from swiftdeploy.errors import CheckpointError
from swiftdeploy.report import KeyReport

_SHOWN = 10
_COUNTER = ".num_batches_tracked"


class KeyMismatchError(CheckpointError):
    """Weights and module do not fit. `keys` holds every difference; the message shows at most ten."""

    def __init__(self, fact: str, *, hint: str, keys: KeyReport) -> None:
        super().__init__(fact, hint=hint)
        self.keys = keys


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], *, ignored: Iterable[str] = ()) -> KeyReport:
    """Every key of `found` against every key of `expected`, shapes included.

    A missing batch counter is no difference: releases of torch before 0.4.1 wrote none, and eval does not read it.
    """
    return KeyReport(
        loaded=sum(key in expected and expected[key].shape == tensor.shape for key, tensor in found.items()),
        missing=tuple(key for key in expected if key not in found and not key.endswith(_COUNTER)),
        unexpected=tuple(key for key in found if key not in expected),
        misshaped=tuple(
            f"{key}: {_shape(tensor)} in the checkpoint, {_shape(expected[key])} in the model"
            for key, tensor in found.items()
            if key in expected and expected[key].shape != tensor.shape
        ),
        ignored=tuple(ignored),
    )


def require_strict(report: KeyReport, *, source: str, model: str) -> None:
    """Raise KeyMismatchError unless every key found its place with its shape."""
    if report.strict:
        return
    kinds = {"missing": report.missing, "unexpected": report.unexpected, "mis-shaped": report.misshaped}
    present = {kind: keys for kind, keys in kinds.items() if keys}
    counts = ", ".join(f"{len(keys)} {kind}" for kind, keys in present.items())
    # A wrong variant differs in hundreds of keys; a few of each kind tell which one it is.
    share = _SHOWN // len(present)
    examples = "; ".join(f"{kind} {', '.join(keys[:share])}" for kind, keys in present.items())
    # Nothing in common is another architecture; something in common is another variant.
    if report.loaded == 0:
        hint = f"no key of {source} belongs to {model}: is it another architecture?"
    else:
        hint = "choose the --model that these weights were trained as; list them with: swiftdeploy models"
    raise KeyMismatchError(f"{source} does not fit {model}: {counts} keys, first: {examples}", hint=hint, keys=report)


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"
