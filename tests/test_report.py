import pytest

from swiftdeploy.report import KeyReport, Leg, OutputParity, ParityReport, Provenance, WeightParity
from swiftdeploy.spec import from_plain, to_plain


@pytest.mark.parametrize(
    ("keys", "strict"),
    [
        (KeyReport(loaded=3), True),
        (KeyReport(loaded=3, ignored=("num_batches_tracked",)), True),
        (KeyReport(loaded=3, missing=("a",)), False),
        (KeyReport(loaded=3, unexpected=("a",)), False),
        (KeyReport(loaded=3, misshaped=("a",)), False),
    ],
)
def test_strictness(keys, strict):
    assert keys.strict is strict


def leg(verdict, name="outputs"):
    return Leg(name=name, verdict=verdict)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "fail"),
        (["pass"], "pass"),
        (["pass", "warn", "pass"], "warn"),
        (["warn", "fail", "pass"], "fail"),
    ],
)
def test_the_worst_leg_decides_and_none_is_a_failure(verdicts, expected):
    legs = tuple(leg(verdict) for verdict in verdicts)
    assert ParityReport(subject="s", precision="fp16", gate_db=50.0, legs=legs).verdict == expected


def test_reports_survive_json():
    output = OutputParity(
        name="o", psnr_db=None, relative_l2=0.0, cosine=1.0, max_abs=0.0, samples=7, verdict="pass", top1=1.0
    )
    weights = Leg(name="weights", verdict="fail", weights=WeightParity(tensors=2, equal=1, problems=("a: b",)))
    report = ParityReport(
        subject="s",
        precision="fp32",
        gate_db=100.0,
        legs=(Leg(name="stress", verdict="pass", outputs=(output,), divergence=""), weights),
    )
    assert from_plain(ParityReport, to_plain(report)) == report
    found = Provenance(weights="untrained", source="seed 3", sha256="", format="", seed=3, conclusions=("why",))
    assert from_plain(Provenance, to_plain(found)) == found
    with pytest.raises(ValueError, match="'perhaps' is none of pass, warn, fail"):
        from_plain(ParityReport, to_plain(report) | {"legs": [{"name": "stress", "verdict": "perhaps"}]})
