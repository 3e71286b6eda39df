"""Which artifact to ship: the smallest that is right about as often as the reference, with the reason in words.

Where a bundle has Core ML artifacts these alone are compared: an app ships one or the other kind, and bytes do not
decide between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swiftdeploy.evaluation.statistics import Share, share

TOLERANCE = 0.5  # points
_PACKAGE = ".mlpackage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """An artifact by name, its bytes, and on how many images it is right."""

    name: str
    bytes: int
    right: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The artifact to ship, "" where none is to be recommended, and why.

    `tolerance` is how many points below the reference it may be.
    """

    artifact: str
    reason: str
    tolerance: float


def recommend(
    contenders: Sequence[Contender],
    *,
    reference: str,
    right: int,
    images: int,
    tolerance: float | None = None,
    what: str = "top-1",
) -> Recommendation:
    """The smallest contender that is right on no fewer images than `reference`, less `tolerance` points.

    `right` is the reference's count of `images`, `what` the name of the share. Counts are compared, so that no rounding
    decides; of equal sizes the one that is more often right.
    """
    allowed = TOLERANCE if tolerance is None else tolerance
    packages = [contender for contender in contenders if contender.name.endswith(_PACKAGE)]
    considered = packages or list(contenders)
    kind = "Core ML artifacts" if packages else "artifacts"
    holding = [c for c in considered if 100 * (right - c.right) <= allowed * images]
    if not holding:
        closest = max(considered, key=lambda c: (c.right, -c.bytes))
        reason = (
            f"none of {len(considered)} {kind} is within {allowed:g} points of {reference}'s {what}: the closest, "
            f"{closest.name}, has {_said(share(closest.right, images))}, {reference} {100 * right / images:.2f} %"
        )
        return Recommendation(artifact="", reason=reason, tolerance=allowed)
    best = min(holding, key=lambda c: (c.bytes, -c.right, c.name))
    reason = (
        f"the smallest of {len(considered)} {kind} within {allowed:g} points of {reference}'s {what}: {best.bytes:,} "
        f"bytes, {_said(share(best.right, images))}, {reference} {100 * right / images:.2f} %{_caveat(images, allowed)}"
    )
    return Recommendation(artifact=best.name, reason=reason, tolerance=allowed)


def _said(found: Share) -> str:
    return f"{found.percent:.2f} % (95 %: {found.low:.1f} to {found.high:.1f})"


def _caveat(images: int, allowed: float) -> str:
    """Too few images cannot show a loss as small as is allowed."""
    if allowed <= 0 or allowed * images > 100:
        return ""
    return f"; one image of {images} is {100 / images:.1f} points, so that more of them would say more"
