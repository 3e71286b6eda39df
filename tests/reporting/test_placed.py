"""Placement records of a run, decoded."""

import dataclasses

import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.reporting.placed import placed


def test_every_predicted_artifact(red):
    found = placed(red)
    assert [(one.job, one.artifact) for one in found] == [
        (name, f"{name}-fp16.mlpackage") for name in ("swiftformer_xs", "swiftformer_s", "swiftformer_l1")
    ]
    assert found[0].engine.segments[0].ops == 74


def test_an_onnx_file_has_no_neural_engine(green):
    summary = green.jobs[0].summary
    plain = {**summary.placement[0], "neural_engine": None}
    job = dataclasses.replace(green.jobs[0], summary=dataclasses.replace(summary, placement=(plain,)))
    assert placed(dataclasses.replace(green, jobs=(job,))) == ()


def test_a_damaged_record_is_refused(green):
    summary = dataclasses.replace(green.jobs[0].summary, placement=({"artifact": 3},))
    job = dataclasses.replace(green.jobs[0], summary=summary)
    with pytest.raises(ArtifactError, match="placement of swiftformer_xs cannot be read"):
        placed(dataclasses.replace(green, jobs=(job,)))
