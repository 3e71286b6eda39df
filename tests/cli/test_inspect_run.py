"""`swiftdeploy inspect --run` as a person reads it and as a program does."""

import json

import pytest

from swiftdeploy.cli import hazards
from swiftdeploy.mil.hazards import OpHazards
from swiftdeploy.mil.risks import Risk

NOTHING = {"overflow": 0.0, "vanish": 0.0, "subnormal": 0.0, "nan": 0.0, "inf": 0.0}


def op(**changes):
    plain = {"name": "y", "op": "square", "output": "y", "dtype": "fp32", "shape": (1, 2), "runs": 1, "least": 1.0}
    return OpHazards(**{**plain, "greatest": 9e4, "macs": 0, **NOTHING, **changes})


def test_the_table_fits_80_columns_and_names_every_op(cli, digits_bundle):
    path = digits_bundle / "swiftformer_digits-fp16.mlpackage"
    answer = cli("inspect", path, "--run", "-q")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "swiftformer_digits-fp16.mlpackage: 4 samples, seeded inputs"
    assert sum(line.startswith("conv ") for line in lines) > 10
    assert "multiply-accumulates a prediction" in lines[-1]


def test_json_holds_every_figure(cli, digits_bundle):
    answer = cli("inspect", digits_bundle, "--run", "--json", "-q")
    half, whole = answer.document["runs"]
    assert set(half["ops"][0]) >= {"op", "shape", "dtype", "least", "greatest", "overflow", "vanish", "macs", "risks"}
    assert [run["artifact"] for run in (half, whole)] == [
        "swiftformer_digits-fp16.mlpackage", "swiftformer_digits-fp32.mlpackage",
    ]  # fmt: skip
    json.dumps(answer.document, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"overflow": 0.25, "risks": (Risk(kind="overflow", value=9e4),)}, ["overflow 25.0%"]),
        ({"risks": (Risk(kind="squares", value=123456.0),)}, ["sum of squares 1.2e+05"]),
        ({"risks": (Risk(kind="epsilon", value=1e-12),)}, ["epsilon 1e-12"]),
        ({"risks": (Risk(kind="constant", value=3.4e38),), "nan": 0.5}, ["constant 3.4e+38", "NaN 50.0%"]),
        ({"risks": (Risk(kind="vanish", value=0.125),), "inf": 0.1}, ["vanish 12.5%", "Inf 10.0%"]),
    ],
)
def test_each_risk_has_its_words(changes, words):
    assert hazards.risks(op(**changes)) == words


def test_images_without_a_run_are_refused(cli, digits_bundle):
    answer = cli("inspect", digits_bundle, "--images", "x")
    assert answer.code == 2
    assert "add --run" in answer.err


def test_what_is_no_package_is_refused(cli, digits_bundle):
    assert cli("inspect", digits_bundle / "swiftformer_digits-fp32.onnx", "--run").code == 2
