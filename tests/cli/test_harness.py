"""`swiftdeploy harness`: a bundle or a command as first word, exit codes, one document, 80 columns."""

import dataclasses
import json
import shutil

import pytest

from swiftdeploy import console
from swiftdeploy.bundle import read_bundle
from swiftdeploy.cli.app import run
from swiftdeploy.pipeline.harness import PLAN_FILE, read_plan

FP16, FP32 = "swiftformer_digits-fp16", "swiftformer_digits-fp32"


@pytest.fixture
def swiftdeploy(capsys, monkeypatch):
    """swiftdeploy(*words) -> (exit code, stdout, stderr), on a terminal of eighty columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        capsys.readouterr()  # what fixtures said
        code = run([str(word) for word in words])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    yield call
    console.configure(verbosity=0, color=True)


@pytest.fixture
def result(phone, digits_bundle, tmp_path):
    plan = phone.plan_of(digits_bundle)
    latencies = {(FP32, unit): 1400 for unit in plan.compute_units}
    return phone.write(phone.run(plan, latencies), tmp_path / "result.json")


def test_one_command_writes_a_project(swiftdeploy, digits_bundle, tmp_path):
    code, out, err = swiftdeploy("harness", digits_bundle, "-o", tmp_path / "Bench", "--team", "ABCDE12345", "-q")
    assert (code, err) == (0, "")
    assert f"{FP16}, {FP32}: 4 compute units, 20 rounds of 50 predictions" in out
    assert (tmp_path / "Bench" / "Bench.xcodeproj").is_dir()
    assert "ABCDE12345" in (tmp_path / "Bench" / "Bench.xcconfig").read_text()


@pytest.mark.parametrize(
    "words", [["BUNDLE", "-o", "OUT"], ["-o", "OUT", "BUNDLE"], ["write", "BUNDLE", "-o", "OUT"], ["-oOUT", "BUNDLE"]]
)
def test_the_word_write_may_be_left_out(swiftdeploy, digits_bundle, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    given = [str(digits_bundle) if word == "BUNDLE" else word for word in words]
    code, out, _ = swiftdeploy("harness", *given, "--dry-run", "--json", "-q")
    assert code == 0
    document = json.loads(out)
    assert (document["project"], document["written"]) == ("OUT", False)
    assert not list(tmp_path.iterdir())


def test_what_is_chosen_reaches_the_plan(swiftdeploy, digits_bundle, tmp_path):
    options = ["--rounds", 3, "--predictions", 7, "--unit", "all", "--unit", "cpuOnly", "--seed", 5]
    code, out, _ = swiftdeploy("harness", digits_bundle, "-o", tmp_path / "Bench", "--json", "-q", *options)
    plan = read_plan(tmp_path / "Bench" / PLAN_FILE)
    assert code == 0
    assert (plan.rounds, plan.predictions_per_round, plan.seed) == (3, 7, 5)
    assert plan.compute_units == ("all", "cpuOnly")
    document = json.loads(out)
    assert document["plan"] == json.loads((tmp_path / "Bench" / PLAN_FILE).read_text())


def test_force_replaces_a_project(swiftdeploy, digits_bundle, tmp_path):
    words = ("harness", digits_bundle, "-o", tmp_path / "Bench", "-q")
    assert swiftdeploy(*words)[0] == 0
    code, _, err = swiftdeploy(*words)
    assert code == 2
    assert "--force" in err
    assert swiftdeploy(*words, "--dry-run")[0] == 2
    assert swiftdeploy(*words, "--force")[0] == 0


def test_usage_errors(swiftdeploy, digits_bundle, tmp_path):
    for words in ([], [digits_bundle], ["import"], ["compare", "a.json"], [digits_bundle, "-o", "x", "--rounds", "0"]):
        code, out, err = swiftdeploy("harness", *words)
        assert (code, out) == (2, ""), words
        assert err.startswith("error: "), words
        assert "\nhint:" in err
    code, _, err = swiftdeploy("harness", digits_bundle, "-o", tmp_path / "x", "--unit", "gpu", "-q")
    assert code == 2
    assert "'gpu' is no compute unit" in err


@pytest.mark.parametrize("lack", ["golden", "coreml"])
def test_a_bundle_that_no_phone_can_measure_exits_with_4(swiftdeploy, digits_copy, export_onnx, tmp_path, lack):
    bundle = digits_copy if lack == "golden" else export_onnx
    if lack == "golden":
        shutil.rmtree(bundle / "golden")
    code, out, _ = swiftdeploy("harness", bundle, "-o", tmp_path / "Bench", "--json", "-q")
    error = json.loads(out)["error"]
    assert (code, error["exit_code"], error["kind"]) == (4, 4, "ModelError")
    assert "export" in error["hint"]


@pytest.fixture(scope="session")
def export_onnx(shared, digits_request):
    """A bundle with an ONNX artifact alone."""
    from swiftdeploy.pipeline.export import export

    def make(folder):
        export(digits_request(folder / "onnx", targets=("onnx",), precisions=("fp32",), verify=False))

    return shared("onnx", make) / "onnx"


def test_import_prints_latency_and_parity_and_stores(swiftdeploy, digits_copy, result):
    code, out, err = swiftdeploy("harness", "import", result, "--bundle", digits_copy, "-q")
    assert (code, err) == (0, "")
    assert "iPhone14,7, iOS 16.0 (20A362)" in out
    assert "0.700" in out
    assert "1.400" in out
    assert "pass 120.0 dB" in out
    assert out.rstrip().endswith("stored")
    assert len(read_bundle(digits_copy).manifest.device) == 1
    code, out, _ = swiftdeploy("harness", "import", result, "--bundle", digits_copy, "-q")
    assert code == 0
    assert "was there already" in out


def test_import_without_a_bundle_says_that_nothing_is_stored(swiftdeploy, result):
    code, out, err = swiftdeploy("harness", "import", result)
    assert code == 0
    assert "nothing is stored" in err
    assert "stored" not in out


def test_import_as_a_document(swiftdeploy, digits_copy, result):
    code, out, _ = swiftdeploy("harness", "import", result, "--bundle", digits_copy, "--json", "-q")
    (item,) = json.loads(out)["imported"]
    assert code == 0
    assert (digits_copy / item["stored"]).is_file()
    assert {(pair["model"], pair["compute_unit"]) for pair in item["pairs"]} == {
        (model, unit) for model in (FP16, FP32) for unit in ("all", "cpuOnly")
    }
    assert item["pairs"][0]["statistics"]["estimate_ms"] == pytest.approx(0.7)
    assert item["pairs"][0]["parity"] == [{"output": "logits", "psnr_db": 120.0, "verdict": "pass"}]


def edited(phone, path):
    path.write_text(path.read_text().replace('"n":30', '"n":31', 1))


def truncated(phone, path):
    path.write_bytes(path.read_bytes()[:100])


def other_model(phone, path):
    def change(plain):
        for line in (*plain["plan"]["models"], *plain["pairs"]):
            line["sha256"] = "0" * 64

    phone.reseal(path, change)


def other_schema(phone, path):
    phone.reseal(path, lambda plain: plain.update(schema=9))


def nan(phone, path):
    path.write_text(path.read_text().replace('"samples_ns":[7', '"samples_ns":[NaN,7', 1))


def changed_plan(phone, path):
    phone.reseal(path, lambda plain: plain["plan"]["thermal"].update(round_limit="critical"))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (edited, "was edited"),
        (truncated, "truncated"),
        (other_model, "measures another"),
        (other_schema, "schema version 9"),
        (nan, "NaN"),
        (changed_plan, "changed plan"),
    ],
)
def test_each_bad_result_exits_with_7_by_name(swiftdeploy, phone, digits_copy, result, spoil, named):
    spoil(phone, result)
    code, out, _ = swiftdeploy("harness", "import", result, "--bundle", digits_copy, "--json", "-q")
    error = json.loads(out)["error"]
    assert (code, error["kind"]) == (7, "ArtifactError")
    assert "result.json" in error["fact"]
    assert named in error["fact"]
    assert error["hint"]
    assert read_bundle(digits_copy).manifest.device == ()


def test_a_spoiled_run_needs_an_allowance_and_says_so(swiftdeploy, phone, digits_bundle, digits_copy, tmp_path):
    run_ = phone.run(phone.plan_of(digits_bundle))
    process = dataclasses.replace(run_.process, debug_build=True)
    bad = dataclasses.replace(run_, process=process, invalid=("debug_build",))
    path = phone.write(bad, tmp_path / "debug.json")
    words = ("harness", "import", path, "--bundle", digits_copy, "-q")
    assert swiftdeploy(*words)[0] == 7
    code, out, _ = swiftdeploy(*words, "--allow", "debug_build")
    assert code == 0
    assert "accepted in spite of: debug_build" in out
    code, out, _ = swiftdeploy(
        "harness", "compare", digits_copy, digits_copy, "--model-a", FP32, "--model-b", FP16, "-q"
    )
    assert code == 0
    assert "accepted in spite of: debug_build" in out
    assert swiftdeploy(*words, "--allow", "whatever")[0] == 2


def test_the_plan_may_be_given(swiftdeploy, phone, digits_bundle, digits_copy, tmp_path):
    swiftdeploy("harness", digits_bundle, "-o", tmp_path / "Bench", "--rounds", 2, "--unit", "all", "-q")
    file = tmp_path / "Bench" / PLAN_FILE
    path = phone.write(phone.run(read_plan(file)), tmp_path / "r.json")
    assert swiftdeploy("harness", "import", path, "--bundle", digits_copy, "--plan", file, "-q")[0] == 0
    other = phone.write(phone.run(phone.plan_of(digits_bundle)), tmp_path / "other.json")
    code, _, err = swiftdeploy("harness", "import", other, "--bundle", digits_copy, "--plan", file, "-q")
    assert code == 7
    assert "changed plan" in err


def test_compare_tells_which_is_faster(swiftdeploy, result, tmp_path):
    words = ("harness", "compare", result, result, "--model-a", FP32, "--model-b", FP16)
    code, out, err = swiftdeploy(*words, "-q", "--html", tmp_path / "report.html")
    assert (code, err) == (0, "")
    assert f"B {FP16} on iPhone14,7" in out
    assert out.count("faster") == 2
    assert "0.500" in out
    assert "<html" in (tmp_path / "report.html").read_text()
    code, out, _ = swiftdeploy(*words, "--json", "-q")
    document = json.loads(out)
    assert [row["verdict"] for row in document["comparisons"][0]["rows"]] == ["faster", "faster"]
    assert document["accepted_in_spite_of"] == []


def test_published_figures_are_marked(swiftdeploy, phone, digits_bundle, tmp_path):
    plan = phone.plan_of(digits_bundle)
    named = tuple(dataclasses.replace(m, name="swiftformer_xs", resource=m.precision) for m in plan.models)
    path = phone.write(phone.run(dataclasses.replace(plan, models=named)), tmp_path / "xs.json")
    words = ("harness", "compare", path, path, "--model-a", "swiftformer_xs-fp32", "--model-b", "swiftformer_xs-fp16")
    code, out, _ = swiftdeploy(*words, "--published", "-q")
    assert code == 0
    assert "published, not measured here: B swiftformer_xs-fp16 0.7 ms" in out
    assert "published" not in swiftdeploy(*words, "-q")[1]


def test_compare_asks_which_models_are_meant(swiftdeploy, result):
    code, _, err = swiftdeploy("harness", "compare", result, result, "-q")
    assert code == 2
    assert FP16 in err


def test_tables_fit_eighty_columns(swiftdeploy, phone, digits_bundle, digits_copy, tmp_path):
    units = ("all", "cpuAndNeuralEngine", "cpuAndGPU", "cpuOnly")
    plan = phone.plan_of(digits_bundle, compute_units=units)
    slow = {(FP32, unit): 123456 for unit in units}
    path = phone.write(phone.run(plan, slow), tmp_path / "wide.json")
    shown = swiftdeploy("harness", "import", path, "-q")[1]
    shown += swiftdeploy("harness", "compare", path, path, "--model-a", FP16, "--model-b", FP32, "-q")[1]
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


@pytest.mark.parametrize("words", [[], ["write"], ["import"], ["compare"]])
def test_help_has_an_example_and_loads_nothing_heavy(command, words):
    script = (
        "import sys; from swiftdeploy.cli.app import run; code = run(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'coremltools', 'onnx', 'onnxruntime', 'jsonschema'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, "harness", *words, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Example: swiftdeploy harness" in done.stdout
    if not words:
        assert all(name in done.stdout for name in ("BUNDLE", "import", "compare", "write"))
