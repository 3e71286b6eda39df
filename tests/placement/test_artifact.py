"""One door for both kinds of artifact."""

import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.placement.artifact import place
from swiftdeploy.report import PlacementRecord
from swiftdeploy.spec import from_plain, to_plain


@pytest.mark.parametrize("target", ["coreml", "onnx"])
def test_a_record_survives_json(written, target):
    record, ops = place(written(target, "fp32"))
    assert from_plain(PlacementRecord, to_plain(record)) == record
    assert (record.neural_engine is None) is (target == "onnx")
    assert bool(record.providers) is (target == "onnx")
    assert ops


def test_both_files_of_one_network_cost_the_same(written):
    assert place(written("coreml", "fp32"))[0].cost == place(written("onnx", "fp32"))[0].cost


def test_another_kind_of_file(tmp_path):
    (tmp_path / "model.ort").touch()
    with pytest.raises(UsageError, match=r"model\.ort cannot be judged"):
        place(tmp_path / "model.ort")
