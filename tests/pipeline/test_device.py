"""Device results come back: checked against the bundle, stored in it, and the bundle stays a bundle."""

import dataclasses
import json
import shutil
import subprocess

import pytest

from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import ArtifactError, ModelError, UsageError
from swiftdeploy.harness.compare import compare
from swiftdeploy.harness.plan import ThermalPlan
from swiftdeploy.pipeline import device
from swiftdeploy.pipeline.device import import_result, measurements
from swiftdeploy.pipeline.harness import PLAN_FILE, read_plan, write_harness
from swiftdeploy.pipeline.verify import verify_bundle

FP16, FP32 = "swiftformer_digits-fp16", "swiftformer_digits-fp32"


@pytest.fixture(scope="module")
def plan(phone, digits_bundle):
    return phone.plan_of(digits_bundle)


@pytest.fixture
def result(phone, plan, tmp_path):
    """result(name, **facts) is a file that a phone wrote, fp16 twice as fast as fp32."""

    def make(name="result.json", *, of=plan, **facts):
        latencies = {(FP32, unit): 1400 for unit in of.compute_units}
        return phone.write(phone.run(of, latencies, **facts), tmp_path / name)

    return make


def refused(path, bundle, *parts, **options):
    """Importing is refused with exit 7 and the file's name, and the bundle keeps every byte."""
    before = read_bundle(bundle).manifest
    with pytest.raises(ArtifactError) as caught:
        import_result([path], bundle, **options)
    assert caught.value.exit_code == 7
    assert path.name in caught.value.fact
    assert caught.value.hint
    for part in parts:
        assert part in caught.value.fact, caught.value.fact
    assert read_bundle(bundle).manifest == before


def test_an_accepted_result_is_one_of_the_bundles_files(result, digits_copy):
    path = result()
    before = read_bundle(digits_copy).manifest
    (found,) = import_result([path], digits_copy)
    after = read_bundle(digits_copy).manifest
    assert not found.known
    assert (digits_copy / found.stored).read_bytes() == path.read_bytes()
    assert {f.path for f in after.files} - {f.path for f in before.files} == {found.stored}
    assert after.tree_sha256 != before.tree_sha256
    (record,) = after.device
    assert (record.path, record.models, record.allowed) == (found.stored, (FP16, FP32), ())
    assert record.device == "iPhone14,7, iOS 16.0 (20A362)"
    assert dataclasses.replace(after, device=(), files=before.files, tree_sha256=before.tree_sha256, seal="") == (
        dataclasses.replace(before, seal="")
    )


def test_the_bundle_verifies_with_the_result_and_is_measured_again(result, digits_copy, tmp_path):
    import_result([result()], digits_copy)
    verified = verify_bundle(digits_copy)
    assert verified.files == len(read_bundle(digits_copy).manifest.files)
    assert {report.verdict for report in verified.reports} == {"pass"}
    write_harness([digits_copy], tmp_path / "Bench")


def test_a_stored_result_cannot_be_changed_or_taken_away(result, digits_copy):
    (found,) = import_result([result()], digits_copy)
    kept = digits_copy / found.stored
    text = kept.read_bytes()
    kept.write_bytes(text + b" ")
    with pytest.raises(ArtifactError, match="changed device/"):
        read_bundle(digits_copy)
    kept.unlink()
    with pytest.raises(ArtifactError, match="missing device/"):
        read_bundle(digits_copy)


def test_importing_twice_changes_nothing(result, digits_copy, tmp_path):
    path = result()
    import_result([path], digits_copy)
    manifest, inode = (digits_copy / "manifest.json").read_bytes(), (digits_copy / "manifest.json").stat().st_ino
    renamed = shutil.copyfile(path, tmp_path / "another name.json")
    (again,) = import_result([renamed], digits_copy)
    assert again.known
    assert (digits_copy / "manifest.json").read_bytes() == manifest
    assert (digits_copy / "manifest.json").stat().st_ino == inode


def test_the_order_of_imports_leaves_no_trace(result, digits_copy, tmp_path):
    other = shutil.copytree(digits_copy, tmp_path / "other" / "digits")
    first, second = result("a.json"), result("b.json")
    import_result([first], digits_copy)
    import_result([second], digits_copy)
    import_result([second, first], other)
    assert (digits_copy / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()
    assert len(read_bundle(other).manifest.device) == 2


def test_all_are_stored_or_none(result, digits_copy, tmp_path):
    good, bad = result("good.json"), tmp_path / "bad.json"
    bad.write_text("{}")
    with pytest.raises(ArtifactError, match=r"bad\.json"):
        import_result([good, bad], digits_copy)
    assert read_bundle(digits_copy).manifest.device == ()


def test_without_a_bundle_a_result_is_checked_and_not_stored(result):
    (found,) = import_result([result()])
    assert (found.stored, found.known) == ("", False)
    assert found.measurement.pair(FP16, "all").statistics.estimate_ms == pytest.approx(0.7)


def test_an_edited_result(result, digits_copy):
    path = result()
    path.write_text(path.read_text().replace('"estimate_ms":0.7', '"estimate_ms":0.6', 1))
    refused(path, digits_copy, "edited")


def test_a_truncated_result(result, digits_copy):
    path = result()
    path.write_bytes(path.read_bytes()[:-400])
    refused(path, digits_copy, "truncated")


def test_a_result_with_nan_samples(result, digits_copy):
    path = result()
    path.write_text(path.read_text().replace('"samples_ns":[700000', '"samples_ns":[NaN', 1))
    refused(path, digits_copy, "NaN")


def test_a_result_of_another_schema(phone, result, digits_copy):
    refused(phone.reseal(result(), lambda plain: plain.update(schema=2)), digits_copy, "schema version 2")


def test_figures_that_do_not_follow_from_the_samples(phone, result, digits_copy):
    def faster(plain):
        plain["pairs"][0]["statistics"]["estimate_ms"] = 0.1

    refused(phone.reseal(result(), faster), digits_copy, "estimate_ms")


def test_a_result_of_other_weights_under_the_same_name(phone, plan, result, digits_copy):
    other = dataclasses.replace(plan, models=tuple(dataclasses.replace(m, sha256="ab" * 32) for m in plan.models))
    refused(result(of=other), digits_copy, "measures another swiftformer_digits-fp16", "abababababab")


def test_a_result_of_another_model(plan, result, digits_copy):
    other = dataclasses.replace(
        plan, models=tuple(dataclasses.replace(m, name="xs", resource=f"xs_{m.precision}") for m in plan.models)
    )
    refused(result(of=other), digits_copy, "measures xs-fp16, xs-fp32", FP16)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"gate_db": 10.0}, "gate_db"), ({"weights_sha256": ""}, "weights_sha256"), ({"labels": ("a",)}, "labels")],
)
def test_a_plan_whose_model_was_changed(plan, result, digits_copy, changes, named):
    other = dataclasses.replace(plan, models=tuple(dataclasses.replace(m, **changes) for m in plan.models))
    refused(result(of=other), digits_copy, "changed plan", named)


def test_a_plan_with_another_policy_needs_that_plan(plan, result, digits_copy):
    lenient = dataclasses.replace(plan, thermal=ThermalPlan(round_limit="critical"))
    path = result(of=lenient)
    refused(path, digits_copy, "changed plan", "thermal")
    assert import_result([path], digits_copy, plan=lenient)[0].stored


def test_another_plan_than_the_one_given(plan, result, digits_copy):
    refused(result(), digits_copy, "changed plan", "rounds", plan=dataclasses.replace(plan, rounds=6))
    assert import_result([result("b.json")], digits_copy, plan=plan)[0].stored


def test_a_computers_result_is_no_devices(phone, plan, digits_copy, tmp_path):
    run = phone.run(plan)
    host = dataclasses.replace(run, device=dataclasses.replace(run.device, kind="host"))
    refused(phone.write(host, tmp_path / "host.json"), digits_copy, "not on a device")


def test_what_spoils_a_result_is_refused_or_put_on_record(phone, plan, result, digits_copy):
    process = dataclasses.replace(phone.run(plan).process, debug_build=True)
    path = result(process=process)
    refused(path, digits_copy, "debug build")
    import_result([path], digits_copy, allow=["debug_build"])
    assert read_bundle(digits_copy).manifest.device[0].allowed == ("debug_build",)
    assert measurements(digits_copy)[0].invalid == ("debug_build",)  # allowed once is allowed here
    with pytest.raises(UsageError, match="cannot be allowed"):
        import_result([path], digits_copy, allow=["anything"])


def test_another_file_of_a_stored_run(phone, result, digits_copy, tmp_path):
    path = result()
    import_result([path], digits_copy)
    twin = shutil.copyfile(path, tmp_path / "twin.json")
    phone.reseal(twin, lambda plain: plain.update(created_at="2026-02-02T03:04:05Z"))
    refused(twin, digits_copy, "another file of run")


def test_a_bundle_that_no_phone_could_have_measured(result, digits_copy):
    path = result()
    shutil.rmtree(digits_copy / "golden")
    with pytest.raises(ModelError, match="golden"):
        import_result([path], digits_copy)


def test_side_by_side_results_go_into_either_bundle(phone, digits_copy, tmp_path):
    other = shutil.copytree(digits_copy, tmp_path / "other")
    both = phone.plan_of(digits_copy, other)
    assert {model.name for model in both.models} == {"digits", "other"}
    path = phone.write(phone.run(both), tmp_path / "both.json")
    for bundle in (digits_copy, other):
        import_result([path], bundle)
        assert len(verify_bundle(bundle).reports) == 4
    stranger = shutil.copytree(other, tmp_path / "stranger")
    refused(path, stranger, "measures digits-fp16")


def test_results_are_found_in_files_folders_and_bundles(result, digits_copy, tmp_path):
    a, b = result("a.json"), result("b.json")
    folder = tmp_path / "results"
    folder.mkdir()
    for path in (a, b):
        path.rename(folder / path.name)
    assert len(measurements(folder / "a.json")) == 1
    assert len(measurements(folder)) == 2
    import_result([folder / "a.json", folder / "b.json"], digits_copy)
    assert {m.launch_id for m in measurements(digits_copy)} == {m.launch_id for m in measurements(folder)}


def test_where_there_is_no_result(digits_bundle, tmp_path):
    for path in (digits_bundle, tmp_path):
        with pytest.raises(UsageError, match="no result"):
            measurements(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        measurements(tmp_path / "nothing.json")


def test_stored_results_compare(result, digits_copy):
    import_result([result()], digits_copy)
    runs = measurements(digits_copy)
    (found,) = compare(runs, runs, model_a=FP32, model_b=FP16)
    assert [row.unit for row in found.rows] == ["all", "cpuOnly"]
    for row in found.rows:
        assert row.ratio == pytest.approx(0.5, rel=0.02)
        assert row.verdict == "faster"


def test_the_papers_figures_are_found_by_name(phone, plan):
    named = dataclasses.replace(
        plan, models=tuple(dataclasses.replace(m, name="swiftformer_xs", resource=m.precision) for m in plan.models)
    )
    found = device.published([phone.run(named)])
    assert {p.value for p in found["swiftformer_xs"] if p.metric == "latency_ms"} == {0.7}
    assert device.published([phone.run(plan)]) == {}


def test_the_report_is_written_once_per_run(phone, plan, tmp_path):
    run = phone.run(plan)
    device.write_report([run, run], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "iPhone14,7" in text
    with pytest.raises(ArtifactError, match="cannot be written"):
        device.write_report([run], tmp_path / "no" / "report.html")


def test_a_bench_result_is_named_for_what_it_is(digits_copy, tmp_path):
    from swiftdeploy.harness.plan import WarmUpPlan
    from swiftdeploy.pipeline.bench import DEFAULT, bench, write_result

    few = dataclasses.replace(
        DEFAULT, rounds=1, predictions_per_round=1, warm_up=WarmUpPlan(minimum=2, maximum=2, window=1)
    )
    write_result(bench(digits_copy, plan=few, threads=1).measurement, tmp_path / "host.json")
    refused(tmp_path / "host.json", digits_copy, "not on a device")
    with pytest.raises(ArtifactError, match="not on a device"):  # also where its plan alone tells
        import_result([tmp_path / "host.json"])


@pytest.fixture(scope="module")
def simulator(shared, digits_bundle):
    """(the rendered project, its command line built by Swift)."""
    swift = shutil.which("swift")
    if swift is None:
        pytest.skip("swift is not on the PATH: the project's own simulated device did not run")

    def make(folder):
        write_harness([digits_bundle], folder / "Bench", team="ABCDE12345")
        line = [swift, "build", "-c", "release", "--product", "swiftdeploy-bench", "--scratch-path", folder / "built"]
        done = subprocess.run(line, cwd=folder / "Bench/BenchKit", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    folder = shared("simulator", make)
    return folder / "Bench", folder / "built/release/swiftdeploy-bench"


@pytest.mark.slow
def test_a_simulated_run_goes_from_the_bundle_and_back(simulator, digits_copy, tmp_path):
    project, program = simulator
    plan = read_plan(project / PLAN_FILE)
    truth = {(m.label, u): (1 + i) * (2.0 if m.precision == "fp32" else 1.0)
             for m in plan.models for i, u in enumerate(plan.compute_units)}  # fmt: skip
    scenario = {
        "truth": [{"model": m, "unit": u, "median_ms": t} for (m, u), t in truth.items()],
        "jitter": 0.04,
        "spikes": 0.01,
        "cold_factor": 2.4,
        "cold_predictions": 9.0,
        "throttle_factor": 1.6,
        "error": 1e-6,
        "hangs": [],
        "seed": 7,
    }
    (tmp_path / "scenario.json").write_text(json.dumps(scenario))
    path = tmp_path / "result.json"
    line = [program, "simulate", "--plan", project / PLAN_FILE, "--scenario", tmp_path / "scenario.json"]
    subprocess.run([*line, "--output", path], check=True, capture_output=True)
    refused(path, digits_copy, "simulator")
    (found,) = import_result([path], digits_copy, plan=plan, allow=["simulator"])
    for pair in found.measurement.pairs:
        assert pair.statistics.estimate_ms == pytest.approx(truth[pair.label, pair.unit], rel=0.01)
        assert {p.verdict for p in pair.parity} == {"pass"}
    verify_bundle(digits_copy)
    runs = measurements(digits_copy)
    (compared,) = compare(runs, runs, model_a=FP32, model_b=FP16)
    assert {row.verdict for row in compared.rows} == {"faster"}
    assert all(row.ratio == pytest.approx(0.5, rel=0.02) for row in compared.rows)
