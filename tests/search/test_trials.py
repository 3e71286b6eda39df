"""Walking a path of mixes to a target, on paths whose predictions are wrong in known ways."""

import dataclasses

import pytest

from swiftdeploy.compress import Mix
from swiftdeploy.errors import BudgetError
from swiftdeploy.search import run as search
from swiftdeploy.search.trials import best, meets, spread, walk_to_accuracy, walk_to_size
from swiftdeploy.searches import Goal, Point

IMAGES = 100


def point(name, size, right, drift=40.0, kind="mixed"):
    return Point(
        name=name, kind=kind, bytes=size, sha256="", right=right, percent=right, low=0, high=100, drift_db=drift
    )


class Fake:
    """A path of steps of 10 bytes from 1000 down, each really `more` bytes larger, right as often as `rights` says."""

    def __init__(self, rights, more=0):
        self.path = [Mix(schemes={}, bytes=990 - 10 * step, damage=0.0) for step in range(len(rights))]
        self.rights, self.more = rights, more
        self.points = {}
        self.filled = None

    def mix(self, step):
        name = f"mix-{step + 1}"
        self.points[name] = point(name, round(self.path[step].bytes) + self.more, self.rights[step])
        return self.points[name]

    def fill(self, step, target):
        self.filled = (step, target)

    def chosen(self, goal, oracle=IMAGES):
        found = best(tuple(self.points.values()), goal, oracle, IMAGES)
        return found and found.name


@pytest.mark.parametrize("more", [0, 7, 35, -25])
@pytest.mark.parametrize("target", [990, 900, 855, 810])
def test_the_walk_ends_at_the_first_mix_that_really_is_small_enough(more, target):
    trials = Fake([100] * 30, more)
    walk_to_size(trials, target)
    holding = [step for step in range(30) if round(trials.path[step].bytes) + more <= target]
    assert trials.chosen(Goal(target_bytes=target)) == f"mix-{holding[0] + 1}" or more < 0
    assert max(p.bytes for p in trials.points.values() if p.bytes <= target) == 990 - 10 * holding[0] + more
    assert trials.filled == (holding[0], target)


def test_a_size_that_none_has():
    trials = Fake([100] * 5, more=20)
    walk_to_size(trials, 960)
    assert trials.chosen(Goal(target_bytes=960)) is None
    assert min(p.bytes for p in trials.points.values()) == 970
    assert trials.filled is None


@pytest.mark.parametrize("last", range(-1, 30))
def test_the_walk_finds_where_accuracy_falls(last):
    goal = Goal(max_drop=2.0)
    trials = Fake([98 if step <= last else 97 for step in range(30)])
    spread(trials)
    walk_to_accuracy(trials, lambda p: meets(p, goal, IMAGES, IMAGES))
    assert trials.chosen(goal) == (f"mix-{last + 1}" if last >= 0 else None)
    assert len(trials.points) <= 8 + 3


def test_what_is_found_holds_also_where_accuracy_goes_up_and_down():
    goal = Goal(max_drop=2.0)
    trials = Fake([98, 97] * 15)
    spread(trials)
    walk_to_accuracy(trials, lambda p: meets(p, goal, IMAGES, IMAGES))
    assert trials.points[trials.chosen(goal)].right == 98


def test_which_of_several_is_taken():
    points = (
        point("fp16", 100, 99, kind="base"),
        point("pal4", 50, 97, 30.0, "uniform"),
        point("mix-1", 60, 98, 20.0),
        point("mix-2", 55, 98, None),
        point("mix-3", 40, 90, 50.0),
    )
    assert best(points, Goal(target_bytes=70), 99, 100).name == "mix-2", "of equally good ones the closest"
    assert best(points, Goal(target_bytes=52), 99, 100).name == "pal4"
    assert best(points, Goal(max_drop=1.0), 99, 100).name == "mix-2"
    assert best(points, Goal(max_drop=2.0), 99, 100).name == "pal4", "a uniform one may be the smallest"
    assert best(points, Goal(max_drop=0.0), 99, 100) is None, "fp16 is no recipe"
    assert best(points, Goal(target_bytes=39), 99, 100) is None


def test_counts_decide_and_no_rounding():
    """0.3 of 1000 images is 3, though 0.3 is a little less in binary."""
    one = dataclasses.replace(point("x", 1, 997))
    assert meets(one, Goal(max_drop=0.3), 1000, 1000)
    assert not meets(one, Goal(max_drop=0.299), 1000, 1000)


class Judged(Fake):
    """With what `_walk` reads beside the path: how often the oracle is right, on how many images."""

    @property
    def judge(self):
        class Judge:
            oracle_right = IMAGES

            class album:
                names = ("",) * IMAGES

        return Judge


class Asked:
    schemes = ("pal4", "pal2")

    def __init__(self, goal):
        self.goal = goal


def test_a_target_that_nothing_reaches_is_an_error_with_what_was_reached():
    with pytest.raises(BudgetError, match=r"no mix of pal4, pal2 has 900 bytes: the smallest has 990"):
        search._walk(Asked(Goal(target_bytes=900)), Judged([100] * 5, more=40))
    with pytest.raises(BudgetError, match=r"right on 100 of 100 images, the best of 8 compressed packages on 97") as no:
        search._walk(Asked(Goal(max_drop=2.5)), Judged([97] * 30))
    assert no.value.exit_code == 6
    assert search._walk(Asked(Goal(max_drop=3.0)), Judged([97] * 30)).name == "mix-30"
