"""Which mix of schemes damages least for its size: a path of mixes, from what every weight costs by itself.

Two assumptions, both checked later on the package itself: the damage that several weights do is the sum of what each
does alone, and so are the bytes. Then the best mixes are found weight by weight: of each weight's schemes those on the
lower convex hull of damage against bytes are worth having, and going down all hulls in the order of damage a byte saved
visits, at every step, the mix of least damage for its size (Shoham and Gersho 1988, "Efficient bit allocation for an
arbitrary set of quantizers"). Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swiftdeploy.recipe import Override, Recipe

KEPT = "fp16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One way to store one weight: `bytes` that the package grows by it, and what it does to the network's output.

    `damage` is the mean squared error of the output where this weight alone is stored so; fp16 is no option but the
    beginning, with 0.
    """

    weight: str
    scheme: str
    bytes: float
    damage: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """The scheme of each weight that is not left in fp16, with the bytes that the package should have."""

    schemes: Mapping[str, str]
    bytes: float
    damage: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """From one scheme of a weight to the next smaller one that is worth it."""

    option: Option
    saved: float
    added: float

    @property
    def price(self) -> float:
        return self.added / self.saved


def mixes(before: Mapping[str, float], options: Iterable[Option], base: float) -> tuple[Mix, ...]:
    """The path of mixes, largest first: each step stores one more weight in fewer bytes.

    `before` are the weights' bytes in fp16, and `base` those of the whole package. Empty where no option saves a byte.
    """
    by_weight: dict[str, list[Option]] = {name: [] for name in before}
    for option in options:
        by_weight[option.weight].append(option)
    steps = [step for name, choices in by_weight.items() for step in _hull(before[name], choices)]
    # A hull's prices rise, so that sorting keeps each weight's steps in order; of equal ones the sort does.
    steps.sort(key=lambda step: step.price)
    found: list[Mix] = []
    schemes: dict[str, str] = {}
    size, damage = base, 0.0
    for step in steps:
        schemes[step.option.weight] = step.option.scheme
        size, damage = size - step.saved, damage + step.added
        found.append(Mix(schemes=dict(schemes), bytes=size, damage=damage))
    return tuple(found)


def filled(mix: Mix, before: Mapping[str, float], options: Iterable[Option], room: float) -> Mix:
    """The mix with `room` bytes spent on it: again and again the weight that takes back most damage a byte, if it fits.

    A path's steps can be large, as the last layer of a classifier is; this fills what the last one left over.
    """
    everything = [
        *options,
        *(Option(weight=name, scheme=KEPT, bytes=size, damage=0.0) for name, size in before.items()),
    ]
    known = {(option.weight, option.scheme): option for option in everything}
    schemes = dict(mix.schemes)
    size, damage = mix.bytes, mix.damage
    while True:
        gains = [
            (option, now)
            for option in everything
            if (now := known[option.weight, schemes.get(option.weight, KEPT)]).damage > option.damage
            and 0.0 < option.bytes - now.bytes <= room
        ]
        if not gains:
            kept = {weight: scheme for weight, scheme in schemes.items() if scheme != KEPT}
            return Mix(schemes=kept, bytes=size, damage=damage)
        best, now = max(gains, key=lambda pair: (pair[1].damage - pair[0].damage) / (pair[0].bytes - pair[1].bytes))
        schemes[best.weight] = best.scheme
        more = best.bytes - now.bytes
        room, size, damage = room - more, size + more, damage + best.damage - now.damage


def _hull(before: float, options: Sequence[Option]) -> list[_Step]:
    """The steps down one weight's lower convex hull: each to the option that costs least damage a byte from here."""
    steps = []
    size, damage = before, 0.0
    while smaller := [option for option in options if option.bytes < size]:
        # Of options in one line the smallest: the ones between are no corners.
        best = min(smaller, key=lambda o: ((o.damage - damage) / (size - o.bytes), o.bytes))
        steps.append(_Step(option=best, saved=size - best.bytes, added=best.damage - damage))
        size, damage = best.bytes, best.damage
    return steps


def recipe_of(name: str, schemes: Mapping[str, str]) -> Recipe:
    """The recipe that stores these weights so, and every other one in fp16."""
    overrides = tuple(Override(weights=weight, scheme=scheme) for weight, scheme in sorted(schemes.items()))
    return Recipe(name=name, default=KEPT, overrides=overrides)


def front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The indices of (cost, gain) that no other point beats in one without losing in the other, cheapest first.

    Of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    found: list[int] = []
    for index in order:
        if not found or points[index][1] > points[found[-1]][1]:
            found.append(index)
    return tuple(found)
