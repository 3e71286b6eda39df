"""coremltools' passes that fold one weight into another, and how to keep them out.

They would do so behind the back of the leg that compares weights one by one; whatever can be folded, `fuse` has folded.
A conversion names the passes that it leaves out; compressing runs coremltools' default pipeline and offers no choice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

PASSES = (
    "common::fuse_conv_batchnorm",
    "common::fuse_conv_scale",
    "common::fuse_conv_bias",
    "common::fuse_linear_bias",
    "common::fuse_matmul_weight_bias",
    "common::fuse_elementwise_to_batchnorm",  # which fails on fp16 as well: its mean is fp32 in any program
)


class _Idle(AbstractGraphPass):
    def apply(self, prog: Any) -> None:
        """Leave the program as it is."""


@contextlib.contextmanager
def unfolded() -> Iterator[None]:
    """Let whatever coremltools converts in the block keep its weights apart."""
    before = {name: PASS_REGISTRY.passes[name] for name in PASSES}
    PASS_REGISTRY.passes.update(dict.fromkeys(PASSES, _Idle))
    try:
        yield
    finally:
        PASS_REGISTRY.passes.update(before)
