import dataclasses

import pytest

from swiftdeploy.fuse import REWRITES, Outcome, Rewrite
from swiftdeploy.report import RewriteRecord
from swiftdeploy.spec import from_plain, to_plain


def test_an_outcome_becomes_a_record():
    rewrite = Rewrite(name="n", algebra="a = b", apply=lambda graph, images: Outcome())
    record = rewrite.record(Outcome(fired=("x", "y"), declined={"z": "why"}))
    assert record == RewriteRecord(name="n", algebra="a = b", fired=("x", "y"), declined={"z": "why"})
    assert from_plain(RewriteRecord, to_plain(record)) == record


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Outcome().fired = ("x",)


def test_every_rewrite_has_a_name_of_its_own_and_its_algebra():
    assert len({rewrite.name for rewrite in REWRITES}) == len(REWRITES)
    assert all("=" in rewrite.algebra or rewrite.name == "channels_first" for rewrite in REWRITES)
