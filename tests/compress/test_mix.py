"""The path of mixes against every mix there is, and the front against its definition."""

import itertools
import random

import pytest

from swiftdeploy.compress import KEPT, Option, filled, front, mixes, recipe_of
from swiftdeploy.recipe import read_recipe

BEFORE = {"a": 100.0, "b": 60.0, "c": 40.0, "d": 10.0}
SCHEMES = ("int8", "pal4", "pal2")


def options(seed):
    """For each weight three schemes, smaller and worse as a rule, with exceptions; `d` has a scheme that grows it."""
    draw = random.Random(seed)
    found = []
    for weight, size in BEFORE.items():
        for scheme, share in zip(SCHEMES, (0.5, 0.25, 0.125), strict=True):
            damage = draw.uniform(0.2, 1.8) / share**2 * draw.uniform(0.1, 10)
            found.append(Option(weight=weight, scheme=scheme, bytes=size * share + draw.uniform(0, 3), damage=damage))
    return [*found, Option(weight="d", scheme="pal8", bytes=12.0, damage=0.0)]


def every_mix(choices):
    """(bytes, damage) of every combination, fp16 among them."""
    by_weight = {name: [(size, 0.0)] for name, size in BEFORE.items()}
    for option in choices:
        by_weight[option.weight].append((option.bytes, option.damage))
    for combination in itertools.product(*by_weight.values()):
        yield 1000 + sum(size for size, _ in combination), sum(damage for _, damage in combination)


@pytest.mark.parametrize("seed", range(12))
def test_no_mix_of_its_size_damages_less(seed):
    choices = options(seed)
    path = mixes(BEFORE, choices, 1000 + sum(BEFORE.values()))
    everything = list(every_mix(choices))
    for mix in path:
        best = min(damage for size, damage in everything if size <= mix.bytes + 1e-9)
        assert mix.damage == pytest.approx(best)
    assert path[-1].bytes == pytest.approx(min(size for size, _ in everything))
    sizes = [mix.bytes for mix in path]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_a_mix_is_the_sum_of_its_parts():
    choices = options(1)
    known = {(option.weight, option.scheme): option for option in choices}
    for mix in mixes(BEFORE, choices, 1000 + sum(BEFORE.values())):
        parts = [known[pair] for pair in mix.schemes.items()]
        saved = sum(BEFORE[part.weight] - part.bytes for part in parts)
        assert mix.bytes == pytest.approx(1000 + sum(BEFORE.values()) - saved)
        assert mix.damage == pytest.approx(sum(part.damage for part in parts))


def test_what_saves_nothing_is_never_chosen():
    assert mixes({"d": 10.0}, [Option(weight="d", scheme="pal8", bytes=12.0, damage=0.0)], 50) == ()
    assert all(mix.schemes.get("d") != "pal8" for mix in mixes(BEFORE, options(3), 1210))


def test_a_dominated_scheme_is_passed_over():
    """b is larger than c and damages more: no size asks for it."""
    choices = [
        Option(weight="w", scheme="int8", bytes=50, damage=1.0),
        Option(weight="w", scheme="pal6", bytes=40, damage=9.0),
        Option(weight="w", scheme="pal4", bytes=25, damage=4.0),
    ]
    assert [dict(mix.schemes) for mix in mixes({"w": 100.0}, choices, 100)] == [{"w": "int8"}, {"w": "pal4"}]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("room", [0, 5, 20, 60, 1000])
def test_filling_spends_the_room_and_no_more(seed, room):
    choices = options(seed)
    known = {(option.weight, option.scheme): option for option in choices}
    fp16 = {(name, KEPT): Option(weight=name, scheme=KEPT, bytes=size, damage=0) for name, size in BEFORE.items()}
    start = mixes(BEFORE, choices, 1000 + sum(BEFORE.values()))[-2]
    found = filled(start, BEFORE, choices, room)

    def parts(schemes):
        return [(known | fp16)[name, schemes.get(name, KEPT)] for name in BEFORE]

    assert found.bytes == pytest.approx(1000 + sum(part.bytes for part in parts(found.schemes)))
    assert found.damage == pytest.approx(sum(part.damage for part in parts(found.schemes)))
    assert found.bytes <= start.bytes + room
    assert found.damage <= start.damage
    left = start.bytes + room - found.bytes
    for now in parts(found.schemes):
        better = [o for o in (*choices, *fp16.values()) if o.weight == now.weight and o.damage < now.damage]
        assert not any(0 < option.bytes - now.bytes <= left for option in better), "one more would have fitted"
    if room == 1000:
        assert found.schemes == {}


def test_the_recipe_of_a_mix_reads_back(tmp_path):
    recipe = recipe_of("mine", {"net_b_weight": "pal4", "net_a_weight": "int8"})
    (tmp_path / "mine.toml").write_text(recipe.text())
    assert read_recipe(tmp_path / "mine.toml") == recipe
    assert recipe.scheme("net_b_weight").name == "pal4"
    assert recipe.scheme("another_weight").name == "fp16"


@pytest.mark.parametrize("seed", range(8))
def test_the_front_is_what_nothing_beats(seed):
    draw = random.Random(seed)
    points = [(draw.randrange(12), draw.randrange(12)) for _ in range(30)]

    def beaten(point):
        return any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)

    found = [points[index] for index in front(points)]
    assert found == sorted({point for point in points if not beaten(point)})
    assert front([]) == ()
