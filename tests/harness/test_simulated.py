"""From plan to imported result on a device that is not there: Swift writes, Python reads, and the truth is known."""

import json
import math
import re

import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.harness.plan import COMPUTE_UNITS
from swiftdeploy.harness.results import read_result

TRUTH = {
    ("swiftformer_xs-fp16", "all"): 0.7,
    ("swiftformer_xs-fp16", "cpuAndNeuralEngine"): 0.72,
    ("swiftformer_xs-fp16", "cpuAndGPU"): 2.4,
    ("swiftformer_xs-fp16", "cpuOnly"): 5.1,
    ("mobilevitv2_1.0-fp16", "all"): 1.7,
    ("mobilevitv2_1.0-fp16", "cpuAndNeuralEngine"): 1.7,
    ("mobilevitv2_1.0-fp16", "cpuAndGPU"): 3.3,
    ("mobilevitv2_1.0-fp16", "cpuOnly"): 9.0,
}
SCENARIO = {
    "truth": [{"model": m, "unit": u, "median_ms": t} for (m, u), t in TRUTH.items()],
    "jitter": 0.04,
    "spikes": 0.01,
    "cold_factor": 2.4,
    "cold_predictions": 9.0,
    "throttle_factor": 1.6,
    "error": 1e-4,
    "hangs": [],
    "seed": 7,
}


@pytest.fixture(scope="module")
def simulate(benchkit, swift_project, run, tmp_path_factory):
    _, scratch = benchkit

    def make(*arguments, **changes):
        folder = tmp_path_factory.mktemp("simulated")
        (folder / "scenario.json").write_text(json.dumps(SCENARIO | changes))
        run(
            scratch / "release/swiftdeploy-bench", "simulate", "--plan", swift_project / "Resources/plan.json",
            "--scenario", folder / "scenario.json", "--output", folder / "result.json", *arguments,
        )  # fmt: skip
        return folder / "result.json"

    return make


@pytest.fixture(scope="module")
def clean(simulate):
    return simulate()


def test_the_estimate_recovers_the_truth(clean, swift_project):
    from swiftdeploy.harness.plan import Plan
    from swiftdeploy.spec import from_plain

    plan = from_plain(Plan, json.loads((swift_project / "Resources/plan.json").read_text()))
    hashes = {model.label: model.sha256 for model in plan.models}
    result = read_result(clean, models=hashes, plan=plan, allow=["simulator"])
    assert result.invalid == ("simulator",)
    assert result.device.kind == "simulated"
    for pair in result.pairs:
        truth = TRUTH[pair.label, pair.unit]
        assert pair.statistics.n == 1000
        assert pair.statistics.estimate_ms == pytest.approx(truth, rel=0.01)
        assert pair.statistics.estimate_interval.low < pair.statistics.estimate_interval.high
        assert abs(pair.statistics.drift) < 0.02
        assert pair.statistics.outliers > 0
        assert all(r.warm_up.settled and r.warm_up.predictions >= 20 for r in pair.rounds)
    covered = [
        p.statistics.estimate_interval.low <= TRUTH[p.label, p.unit] <= p.statistics.estimate_interval.high
        for p in result.pairs
    ]
    assert sum(covered) >= 6  # of 8 intervals at 95 %, fewer would happen once in 500 times


def test_parity_on_the_device_is_that_of_the_scenario(clean):
    result = read_result(clean, allow=["simulator"])
    for pair in result.pairs:
        assert [p.output for p in pair.parity] == ["logits", "map"]
        assert {p.verdict for p in pair.parity} == {"pass"}
        assert [p.samples[0].top1 for p in pair.parity] == [True, None]
        for parity in pair.parity:
            # Uniform relative errors of 1e-4 have a standard deviation of 1e-4 / sqrt 3, and values are under max|ref|.
            assert parity.psnr_db > 20 * math.log10(math.sqrt(3) / 1e-4) - 1
            assert len(parity.samples) == 4


def test_a_simulated_result_is_no_measurement(clean):
    with pytest.raises(ArtifactError, match="simulator"):
        read_result(clean)


def test_the_same_seed_gives_the_same_samples(clean, simulate):
    first, second = (read_result(p, allow=["simulator"]) for p in (clean, simulate()))
    assert [p.rounds for p in first.pairs] == [p.rounds for p in second.pairs]
    assert first.launch_id != second.launch_id


def test_a_throttled_run_is_refused(simulate):
    path = simulate("--rounds", "4", throttle_after_seconds=1.0)
    with pytest.raises(ArtifactError, match="throttled"):
        read_result(path, allow=["simulator"])
    result = read_result(path, allow=["simulator", "thermal"])
    assert result.thermal.max == "serious"
    assert result.thermal.waited_ms == result.plan.thermal.wait_seconds * 1000


def test_waiting_ends_once_the_device_is_cool(simulate):
    path = simulate("--rounds", "4", throttle_after_seconds=2.0, recover_seconds=20.0)
    result = read_result(path, allow=["simulator", "thermal"])
    assert result.thermal.waited_ms > 0
    assert result.thermal.waited_ms < result.plan.thermal.wait_seconds * 1000


def test_a_unit_that_never_loads_leaves_the_others(simulate):
    result = read_result(simulate("--rounds", "2", hangs=["cpuAndNeuralEngine"]), allow=["simulator"])
    assert {p.status for p in result.pairs if p.unit == "cpuAndNeuralEngine"} == {"timed_out"}
    assert {p.status for p in result.pairs if p.unit != "cpuAndNeuralEngine"} == {"measured"}


def test_wrong_numbers_are_seen_on_the_device(simulate):
    result = read_result(simulate("--rounds", "1", error=0.1), allow=["simulator"])
    assert {p.verdict for pair in result.pairs for p in pair.parity} == {"fail"}


def test_a_changed_plan_is_told(simulate, swift_project):
    from swiftdeploy.harness.plan import Plan
    from swiftdeploy.spec import from_plain

    plan = from_plain(Plan, json.loads((swift_project / "Resources/plan.json").read_text()))
    path = simulate("--rounds", "3", "--units", "all")
    with pytest.raises(ArtifactError, match="changed plan"):
        read_result(path, plan=plan, allow=["simulator"])
    assert len(read_result(path, allow=["simulator"]).pairs) == 2


def test_an_edited_result_is_refused(clean, tmp_path):
    text = clean.read_text()
    edited = re.sub(r'"estimate_ms":[0-9.]+', '"estimate_ms":0.5', text, count=1)
    assert edited != text
    (tmp_path / "edited.json").write_text(edited)
    with pytest.raises(ArtifactError, match="was edited"):
        read_result(tmp_path / "edited.json", allow=["simulator"])


def test_the_command_says_what_is_wrong(benchkit, swift_project, tmp_path):
    import subprocess

    tool = benchkit[1] / "release/swiftdeploy-bench"

    def code(*arguments):
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    assert code("--help")[0] == 0
    assert code("simulate") == (2, code("simulate")[1])
    assert code("nonsense")[0] == 2
    plan = swift_project / "Resources/plan.json"
    status, said = code("run", "--plan", str(plan), "--folder", str(tmp_path))
    assert (status, "Core ML is not on this platform" in said) == (8, True)
    (tmp_path / "scenario.json").write_text("{}")
    assert code("simulate", "--plan", str(plan), "--scenario", str(tmp_path / "scenario.json"))[0] == 7
    assert len(COMPUTE_UNITS) == 4
