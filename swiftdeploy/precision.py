"""What `--precision` may name: how an artifact stores its weights, and in which precision it computes.

In: a name, as the command line, swiftdeploy.toml and file names spell it. Out: a frozen `Precision`. Standard library
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swiftdeploy.errors import UsageError

Compute = Literal["fp32", "fp16"]
Kind = Literal["float", "auto"]

BOTH = ("coreml", "onnx")


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One entry of the table below.

    `compute` is the precision that the artifact computes in, and so the gate that its parity is held to. `targets` are
    those that have this precision. `kind` "float" stores every weight in `compute`; "auto" computes in fp16 but for the
    fewest ops that need fp32 to pass the gate.
    """

    name: str
    kind: Kind
    compute: Compute
    targets: tuple[str, ...] = BOTH


_KNOWN = {
    known.name: known
    for known in (
        Precision(name="fp32", kind="float", compute="fp32"),
        Precision(name="fp16", kind="float", compute="fp16"),
        Precision(name="auto", kind="auto", compute="fp16", targets=("coreml",)),
    )
}
NAMES = tuple(_KNOWN)


def parse(name: str) -> Precision:
    """The precision of that name. Raises UsageError for a name that means nothing."""
    known = _KNOWN.get(name)
    if known is None:
        raise UsageError(f"precision {name!r} is not known", hint=f"choose from {', '.join(NAMES)}")
    return known
