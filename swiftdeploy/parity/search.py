"""The fewest items that must be kept for a condition to hold.

In: items with how much damage each does when it alone is let go, and the condition on a kept set. Out: a set that holds
and that no single item can leave. Knows nothing of ops or packages.

The least set of all would take as many trials as there are sets. Damage orders the items, which finds the least set
where damages add up, as rounding does; the elimination after it makes up for items that only matter together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

Condition = Callable[[frozenset[str]], bool]


def smallest_set(damage: Mapping[str, float], holds: Condition) -> tuple[str, ...] | None:
    """Items to keep, in the mapping's order; None where not even all of them are enough.

    `damage` says for each item what letting it go alone costs (any unit, more is worse; ties keep the mapping's order).
    `holds` must not turn false when an item is added.
    """
    everything = frozenset(damage)
    if holds(frozenset()):
        return ()
    if not holds(everything):
        return None
    worst_first = sorted(damage, key=lambda item: -damage[item])
    enough = _shortest_prefix(worst_first, holds)
    kept = _without_spares(worst_first[:enough], holds)
    return tuple(item for item in damage if item in kept)


def _shortest_prefix(items: list[str], holds: Condition) -> int:
    """How many of the first items are enough; none are not, all are."""
    low, high = 0, len(items)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(frozenset(items[:middle])):
            high = middle
        else:
            low = middle
    return high


def _without_spares(worst_first: list[str], holds: Condition) -> Collection[str]:
    """The items without those that can go, least damaging first, so that what stays is what matters."""
    kept = set(worst_first)
    for item in reversed(worst_first):
        if holds(frozenset(kept - {item})):
            kept.remove(item)
    return kept
