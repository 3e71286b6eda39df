"""Oracle: every subset tried, on small problems."""

from itertools import combinations

import numpy as np
import pytest

from swiftdeploy.parity.search import smallest_set


def least(items, holds):
    return next(
        (
            set(chosen)
            for size in range(len(items) + 1)
            for chosen in combinations(items, size)
            if holds(frozenset(chosen))
        ),
        None,
    )


def test_nothing_is_kept_where_nothing_needs_to_be():
    assert smallest_set({"a": 9.0, "b": 1.0}, lambda kept: True) == ()


def test_all_are_not_enough():
    assert smallest_set({"a": 9.0, "b": 1.0}, lambda kept: False) is None
    assert smallest_set({}, lambda kept: False) is None


def test_what_breaks_alone_is_kept_in_the_order_of_the_items():
    damage = {f"op{i}": 0.0 for i in range(20)} | {"op17": 99.0, "op3": 50.0}
    assert smallest_set(damage, lambda kept: {"op3", "op17"} <= kept) == ("op3", "op17")


def test_a_damaging_item_that_does_not_matter_is_let_go():
    damage = {"loud": 99.0, "needed": 5.0, "quiet": 0.0}
    assert smallest_set(damage, lambda kept: "needed" in kept) == ("needed",)


def test_items_that_only_matter_together_are_all_kept():
    damage = dict.fromkeys("abcdef", 0.0)  # each alone does no harm
    assert smallest_set(damage, lambda kept: len(kept & set("bde")) >= 2) in {("b", "d"), ("b", "e"), ("d", "e")}


@pytest.mark.parametrize("seed", range(20))
def test_where_damages_add_up_the_set_is_the_least(seed):
    generator = np.random.default_rng(seed)
    damage = {f"op{i}": float(value) for i, value in enumerate(generator.exponential(1.0, 10))}
    allowed = generator.uniform(0.1, 0.9) * sum(damage.values())

    def holds(kept):
        return sum(value for item, value in damage.items() if item not in kept) <= allowed

    found = smallest_set(damage, holds)
    assert holds(frozenset(found))
    assert len(found) == len(least(list(damage), holds))


def test_no_single_item_can_leave():
    damage = {f"op{i}": float(i % 7) for i in range(60)}
    needed = {"op0", "op7", "op14", "op33"}
    found = set(smallest_set(damage, lambda kept: needed <= kept))
    assert found == needed


def test_few_trials_are_made():
    calls = []
    damage = {f"op{i}": float(i) for i in range(200)}

    def holds(kept):
        calls.append(kept)
        return {"op199", "op198", "op197"} <= kept

    assert len(smallest_set(damage, holds)) == 3
    assert len(calls) < 20
