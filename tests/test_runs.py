"""A run's report as text and as schema. The oracle for the schema is jsonschema."""

import dataclasses
import json

import jsonschema
import pytest

from swiftdeploy import runs, schema
from swiftdeploy.errors import EXIT_CODES, SEVERITY, ArtifactError, worst_code
from swiftdeploy.report import Provenance
from swiftdeploy.spec import ExportOptions, from_plain, to_plain

SUMMARY = runs.BundleSummary(
    tool={"swiftdeploy": "0"},
    model="tiny",
    family="custom",
    attention="",
    parameters=9,
    provenance=Provenance(weights="trained", source="größe.pth", sha256="00", format="safetensors"),
    input_kind="tensor",
    inputs=(),
    outputs=(),
    bytes=10,
    tree_sha256="aa",
    seal="bb",
    ops_before={"conv": 2},
    ops_after={"conv": 1},
    fusion=(),
    fusion_parity=None,
    artifacts=(),
    placement=({"op": "conv", "line": 3},),
    latency=(
        runs.Latency(artifact="a.mlpackage", device="iPhone", unit="all", median_ms=1.5, p95_ms=2, launch_id="x"),
    ),
    accuracy=(runs.Accuracy(artifact="", images=3, top1=1.0, top5=None),),
)
FAILED = runs.JobReport(
    name="b",
    model="b",
    checkpoint="b.pth",
    options=to_plain(ExportOptions()),
    artifacts=("b-fp16.mlpackage",),
    status="failed",
    exit_code=4,
    cache=runs.CacheOutcome(state="off", reason="--no-cache"),
    failure=runs.Failure(stage="load", kind="CheckpointError", fact="b.pth", hint="mend", exit_code=4),
)
REPORT = runs.RunReport(
    schema=1,
    tool={"swiftdeploy": "0"},
    config="swiftdeploy.toml",
    executor="local",
    baseline="",
    jobs=(
        dataclasses.replace(
            FAILED,
            name="a",
            status="passed",
            exit_code=0,
            failure=None,
            summary=SUMMARY,
            baseline=SUMMARY,
            checks=(runs.Check(name="budget.size", subject="a", verdict="pass", message="m", value=1, limit=2.0),),
        ),
        FAILED,
    ),
    totals=runs.Totals(
        jobs=2, passed=1, cached=0, failed=1, skipped=0, checks=runs.count(["pass"]), seconds=1.0,
        peak_memory_bytes=None, exit_code=4,
    ),
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(runs.encode_run(REPORT), encoding="utf-8")
    return path


def test_round_trip(written):
    assert runs.read_run(written) == runs.read_run(written.parent) == REPORT
    assert from_plain(runs.RunReport, to_plain(REPORT)) == REPORT
    assert "größe.pth" in written.read_text(encoding="utf-8")


def test_the_schema_that_ships_is_current():
    assert schema.load_schema("run") == schema.make_schema(runs.RunReport, "swiftdeploy run report")


def test_the_schema_accepts_what_is_written(written):
    jsonschema.Draft202012Validator.check_schema(schema.load_schema("run"))
    jsonschema.validate(json.loads(written.read_text(encoding="utf-8")), schema.load_schema("run"))


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(surprise=1),
        lambda plain: plain.pop("totals"),
        lambda plain: plain["jobs"][0].update(status="fine"),
        lambda plain: plain["jobs"][0]["checks"][0].update(value="1"),
        lambda plain: plain["jobs"][1].update(failure=3),
        lambda plain: plain["jobs"][0]["summary"].update(bytes=1.5),
        lambda plain: plain.update(schema=2),
    ],
)
def test_schema_and_codec_refuse_the_same(written, change):
    plain = json.loads(written.read_text(encoding="utf-8"))
    change(plain)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, schema.load_schema("run"))
    written.write_text(json.dumps(plain))
    with pytest.raises(ArtifactError) as caught:
        runs.read_run(written)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [('"top1": 1.0', '"top1": 1.5'), ('"bytes": 10,', '"bytes": 9,'), ("{\n", "{\n\n"), ('"seal": "b', '"seal": "c')],
)
def test_a_report_that_was_changed_is_found_out(written, old, new):
    """As a baseline it would move every limit that is relative to it."""
    text = written.read_text(encoding="utf-8")
    assert old in text
    written.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"run\.json is no run's report: it was changed after it was written"):
        runs.read_run(written)


def test_a_name_that_is_no_text_does_not_break_the_seal(tmp_path):
    """A file's name may be any bytes, which Python holds as lone surrogates; the file holds question marks."""
    named = dataclasses.replace(FAILED, checkpoint="w\udce4.pth")
    (tmp_path / "run.json").write_text(runs.encode_run(dataclasses.replace(REPORT, jobs=(named,))), encoding="utf-8")
    assert runs.read_run(tmp_path).jobs[0].checkpoint == "w?.pth"


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, '{"schema": true}', "\ud800"])
def test_what_is_no_report(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ArtifactError, match=r"run\.json is no run's report"):
        runs.read_run(tmp_path)
    with pytest.raises(ArtifactError, match="No such file"):
        runs.read_run(tmp_path / "nothing.json")


def test_a_job_by_name():
    assert REPORT.job("b") is FAILED
    assert REPORT.job("c") is None


@pytest.mark.parametrize(
    ("codes", "worst"), [([], 0), ([0, 0], 0), ([4, 6], 6), ([6, 7, 5], 7), ([8, 5], 5), ([7, 1], 1), ([9, 7], 9)]
)
def test_the_worst_of_several_exit_codes(codes, worst):
    assert worst_code(codes) == worst


def test_every_exit_code_has_its_place():
    assert sorted(SEVERITY) == sorted(EXIT_CODES)
