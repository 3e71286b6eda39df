"""Every rule, in the order in which a report shows them."""

from __future__ import annotations

from swiftdeploy.placement import convolutions, layout, package, precision, structure, tensors
from swiftdeploy.placement.rule import Rule

RULES: tuple[Rule, ...] = (
    *package.RULES,
    *tensors.RULES,
    *structure.RULES,
    *convolutions.RULES,
    *layout.RULES,
    *precision.RULES,
)
