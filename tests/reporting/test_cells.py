"""The matrix of a run, asked as a reader of the page would ask."""

import dataclasses

import pytest

from swiftdeploy.report import ParityReport
from swiftdeploy.reporting.cells import cells, closeness, job_cells, worst
from swiftdeploy.spec import ExportOptions, to_plain


def test_every_job_has_its_cells_written_or_not(red):
    found = cells(red)
    assert [cell.job for cell in found[::4]] == [job.name for job in red.jobs]
    assert [cell.column for cell in found[:4]] == ["coreml fp16", "coreml fp32", "onnx fp16", "onnx fp32"]
    assert [cell.column for cell in found[12:16]] == [cell.column for cell in found[:4]]
    assert [cell.verdict for cell in found[::4]] == ["warn", "fail", "pass", "fail", "skip"]
    assert [cell.artifact is None for cell in found[::4]] == [False, False, False, True, True]
    assert found[4].before.bytes < found[4].artifact.bytes
    assert found[4].accuracy.top1 == pytest.approx(0.7706)


@pytest.mark.parametrize(
    "options", [{}, {"surprise": 1}, {"targets": ["palm"]}, to_plain(ExportOptions(targets=("onnx",)))]
)
def test_options_that_do_not_tell_the_columns(red, options):
    job = dataclasses.replace(red.job("mobilevitv2_050"), options=options)
    assert [cell.column for cell in job_cells(job)] == list(job.artifacts)


def test_an_artifact_nobody_checked_is_a_skip(green):
    made = tuple(dataclasses.replace(one, parity=None) for one in green.jobs[0].summary.artifacts)
    job = dataclasses.replace(
        green.jobs[0], summary=dataclasses.replace(green.jobs[0].summary, artifacts=made), checks=()
    )
    assert {cell.verdict for cell in job_cells(job)} == {"skip"}


def test_the_worst_of_verdicts():
    assert worst([]) == "skip"
    assert worst(["skip", "pass"]) == "pass"
    assert worst(["pass", "warn", "skip"]) == "warn"
    assert worst(["warn", "fail"]) == "fail"


def test_exact_is_not_the_same_as_not_compared(green):
    half, full, *_ = green.jobs[0].summary.artifacts
    assert closeness(half.parity).psnr_db == pytest.approx(67.7)
    assert closeness(half.parity, "outputs").psnr_db == 71.2
    assert closeness(full.parity).compared
    assert closeness(full.parity).psnr_db is None
    nothing = ParityReport(subject="", precision="fp16", gate_db=60, legs=())
    assert not closeness(nothing).compared
    assert not closeness(None).compared
