"""`swiftdeploy run`, `init` and `cache` on the command line; the work itself is tiny."""

import importlib
import json
import os
import shutil
import sys
import tomllib
from pathlib import Path

import jsonschema
import pexpect
import pytest

from swiftdeploy.config import read_config
from swiftdeploy.schema import load_schema

WORK = Path(__file__).parent.parent / "matrix"


@pytest.fixture
def project(tmp_path, monkeypatch, digits):
    """A folder with two models, where every job makes a tiny bundle in this process."""
    monkeypatch.syspath_prepend(str(WORK))
    tinywork = importlib.import_module("tinywork")

    def here(jobs, *, started, **_):
        for job in jobs:
            started(job)
            yield tinywork.build(job)

    monkeypatch.setattr("swiftdeploy.matrix.run.run_here", here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    for name, text in {"a": "one", "b": "refuse"}.items():
        (tmp_path / f"{name}.pth").write_text(text)
    lines = [f'[models.{n}]\nmodel = "swiftformer_digits"\ncheckpoint = "{n}.pth"' for n in "ab"]
    (tmp_path / "swiftdeploy.toml").write_text("\n".join(lines))
    return tmp_path


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_run_shows_every_job_and_ends_with_the_worst_code(cli, project):
    answer = cli("run")
    assert answer.code == 6
    header, good, bad, *complaints = answer.out.splitlines()
    assert header.split() == ["model", "MB", "artifacts", "checks", "seconds", "GB", "status"]
    assert (good.split()[0], good.split()[-1], bad.split()[-1]) == ("a", "passed", "failed")
    assert complaints == ["b: a fails leg 'outputs': no", "    hint: mend it"]
    assert "✓ a: made and verified" in answer.err
    assert "✗ b: a fails leg" in answer.err


def test_json_is_the_report_also_when_it_failed(cli, project):
    answer = cli("run", "--json", "-q")
    assert (answer.code, answer.err) == (6, "")
    jsonschema.validate(answer.document, load_schema("run"))
    assert answer.document == json.loads((project / "dist" / "run.json").read_text())


def test_one_model_only_and_no_cache(cli, project):
    answer = cli("run", "a", "--no-cache", "--json")
    assert (answer.code, answer.document["totals"]["jobs"]) == (0, 1)
    assert not (project / "xdg").exists()


def test_a_model_that_is_named_twice_is_one_job(cli, project):
    answer = cli("run", "a", "a", "--json")
    assert (answer.code, answer.document["totals"]["jobs"]) == (0, 1)
    assert "planning 1 jobs" in answer.err


def test_without_a_file_the_hint_is_the_command_that_writes_it(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (("run",), ("run", "-c", "./swiftdeploy.toml")):
        answer = cli(*arguments)
        assert (answer.code, answer.out) == (2, "")
        assert "write one: swiftdeploy init" in answer.err


def test_dry_run_says_what_is_cached_and_why_the_rest_is_not_and_writes_nothing(cli, project):
    before = tree(project)
    plan = cli("run", "--dry-run")
    assert plan.code == 0
    assert plan.out.splitlines()[0] == "a: coreml fp16 → dist/a: to be made (not made before, or pruned)"
    assert tree(project) == before
    cli("run", "a")
    (project / "b.pth").unlink()
    dry = cli("run", "--dry-run", "--json")
    rows = dry.document["plan"]
    assert dry.code == 4  # what cannot begin is told before it is begun
    assert [(row["name"], row["cached"]) for row in rows] == [("a", True), ("b", False)]
    assert rows[1]["failure"]["exit_code"] == 4
    (project / "a.pth").write_text("two")
    assert "(changed: checkpoint)" in cli("run", "--dry-run").out


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        (("run", "--jobs", "0"), 2, "--jobs 0 is not positive"),
        (("run", "--memory", "much"), 2, "'much' is no size"),
        (("run", "--memory", "0 B"), 2, "leaves no memory"),
        (("run", "--executor", "dask"), 2, "go together"),
        (("run", "--scheduler", "tcp://x:1"), 2, "go together"),
        (("run", "--executor", "kubernetes"), 2, "go together"),
        (("run", "-c", "other.toml"), 2, "there is no other.toml"),
        (("run", "-c", "other.toml"), 2, "hint:  check the path that -c names"),
        (("run", "-c", "."), 2, "error: . is a folder"),
        (("run", "-c", "/dev/null"), 2, "error: /dev/null is no regular file"),
        (("run", "c"), 2, "no model 'c'"),
        (("cache", "prune", "--size", "big"), 2, "'big' is no size"),
    ],
)
def test_what_is_refused(cli, project, arguments, code, fact):
    before = tree(project)
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert fact in answer.err
    assert tree(project) == before


def test_a_baseline_that_is_not_there(cli, project):
    path = project / "swiftdeploy.toml"
    path.write_text('baseline = "released/run.json"\n' + path.read_text())
    answer = cli("run", "--json")
    assert (answer.code, answer.document["totals"]["exit_code"]) == (3, 3)
    assert {job["failure"]["kind"] for job in answer.document["jobs"]} == {"ConfigError"}
    assert "cannot begin: the baseline released/run.json is not there" in cli("run", "--dry-run").out
    (project / "released").mkdir()
    (project / "released" / "run.json").write_text("{}")
    assert cli("run").code == 7


def test_the_baseline_of_the_command_line_wins_over_a_models_own(cli, project):
    assert cli("run", "a").code == 0
    path = project / "swiftdeploy.toml"
    path.write_text(path.read_text().replace("[models.a]\n", '[models.a]\nbaseline = "gone"\n', 1))
    assert "the baseline gone is not there" in cli("run", "a", "--dry-run").out
    assert cli("run", "a", "--baseline", project / "dist" / "run.json").code == 0


def test_results_of_a_device_that_are_not_there(cli, project):
    path = project / "swiftdeploy.toml"
    path.write_text(path.read_text() + '\n[budgets]\nlatency = { max_ms = 1.5, results = "phone" }\n')
    assert "cannot begin: the results phone of budgets.latency are not there" in cli("run", "--dry-run").out
    answer = cli("run", "--json")
    assert answer.code == 3
    assert {job["failure"]["stage"] for job in answer.document["jobs"]} == {"plan"}


def test_reports_name_the_configuration_as_it_was_given(cli, project):
    (project / "ci").mkdir()
    for name in ("swiftdeploy.toml", "a.pth", "b.pth"):
        (project / name).rename(project / "ci" / name)
    answer = cli("run", "a", "-c", "ci/swiftdeploy.toml", "--json")
    assert (answer.code, answer.document["config"], answer.document["jobs"][0]["bundle"]) == (
        *(0, "ci/swiftdeploy.toml", "dist/a"),
    )
    assert "ci/swiftdeploy.toml has no model 'c'" in cli("run", "c", "-c", "ci/swiftdeploy.toml").err


def test_a_baseline_on_the_line_wins_over_the_files_own(cli, project):
    assert cli("run", "a").code == 0
    (project / "dist").rename(project / "old")
    path = project / "swiftdeploy.toml"
    path.write_text('baseline = "nowhere"\nbudgets.size.max_ratio = 0.5\n' + path.read_text())
    assert cli("run", "a").code == 3
    answer = cli("run", "a", "--baseline", project / "old" / "a", "--json")
    failed = {check["name"] for check in answer.document["jobs"][0]["checks"] if check["verdict"] == "fail"}
    assert (answer.code, failed, answer.document["baseline"]) == (6, {"budget.size.max_ratio"}, "old/a")


def test_a_relative_limit_is_judged_against_the_baseline_of_the_line(cli, project):
    """And where there is none at all, what is said does not lead back to where one came from."""
    path = project / "swiftdeploy.toml"
    path.write_text(path.read_text() + "\n[budgets]\nsize = { max_ratio = 1.02 }\n")
    answer = cli("run", "a")
    assert answer.code == 3
    assert "swiftdeploy.toml:8: budgets.size.max_ratio: it needs a baseline" in answer.err
    assert "leave this limit out until" in " ".join(answer.err.split())
    assert not (project / "dist").exists()
    (project / "old").mkdir()
    (project / "old" / "run.json").write_text("{}")
    assert cli("run", "a", "--baseline", "old").code == 7  # the baseline counts, and this one is damaged
    path.write_text(path.read_text().split("[budgets]")[0])
    assert cli("run", "a").code == 0
    (project / "dist").rename(project / "released")
    path.write_text(path.read_text() + "\n[budgets]\nsize = { max_ratio = 1.02 }\n")
    answer = cli("run", "a", "--baseline", "released", "--json")
    judged = {check["name"]: check["verdict"] for check in answer.document["jobs"][0]["checks"]}
    assert (answer.code, judged["budget.size.max_ratio"]) == (0, "pass")


def test_the_cache_is_listed_verified_and_pruned(cli, project):
    cli("run", "a")
    (entry,) = cli("cache", "list", "--json").document["entries"]
    assert (entry["name"], entry["problem"]) == ("a", "")
    assert cli("cache", "list").out.split()[:4] == ["entry", "model", "MB", "problem"]
    assert cli("cache", "verify").code == 0
    (artifact,) = (project / "xdg").rglob("tiny-fp32.onnx")
    artifact.write_text("tampered")
    for flags in ((), ("--json",)):
        answer = cli("cache", "verify", *flags)
        assert answer.code == 7
        assert "changed tiny-fp32.onnx" in answer.out + answer.err
    assert len(cli("cache", "prune", "--dry-run", "--json").document["entries"]) == 1
    assert len(cli("cache", "list", "--json").document["entries"]) == 1
    assert len(cli("cache", "prune", "--json").document["entries"]) == 1
    assert cli("cache", "list", "--json").document["entries"] == []


def test_the_caches_folder_comes_from_the_line_the_file_or_the_platform(cli, project):
    path = project / "swiftdeploy.toml"
    path.write_text(path.read_text() + '\n[cache]\nfolder = "kept"\nmax_size = "1 B"\n')
    assert cli("run", "a", "--cache", project / "line").code == 0
    assert (project / "line" / "v1").is_dir()
    assert cli("run", "a").code == 0
    assert (project / "kept" / "v1").is_dir()
    assert cli("cache", "list", "--json").document["entries"] == []  # one byte keeps nothing


def test_init_from_options_parses_and_names_its_schema(cli, tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    wanted = ("init", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits", "--attention", "token_l2")
    assert tomllib.loads(cli(*wanted, "--dry-run").out)
    assert tree(tmp_path) == []
    answer = cli(*wanted, "--name", "digits", "-t", "onnx", "-p", "fp32", "--calibration", "photos")
    assert (answer.code, answer.out) == (0, "swiftdeploy.toml\n")
    text = (tmp_path / "swiftdeploy.toml").read_text()
    assert text.startswith("#:schema ./swiftdeploy.schema.json\n")
    jsonschema.validate(tomllib.loads(text), json.loads((tmp_path / "swiftdeploy.schema.json").read_text()))
    assert json.loads((tmp_path / "swiftdeploy.schema.json").read_text()) == load_schema("config/config")
    ((name, entry),) = read_config(tmp_path / "swiftdeploy.toml").models
    assert (name, entry.targets, entry.precisions, len(entry.sha256)) == ("digits", ("onnx",), ("fp32",), 64)
    assert entry.calibration == "photos"
    assert "photos is no folder" in cli("run", "--dry-run", "--no-cache").out
    shutil.copytree(digits / "images" / "0", tmp_path / "photos")
    assert cli("run", "--dry-run", "--no-cache").code == 0
    assert cli(*wanted).code == 2
    assert (tmp_path / "swiftdeploy.toml").read_text() == text
    assert cli(*wanted, "--force", "--no-pin").code == 0
    assert read_config(tmp_path / "swiftdeploy.toml").models[0][1].sha256 is None


def test_init_pins_nothing_that_is_not_there(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = ("init", "nofile.pth", "-m", "swiftformer_xs")
    assert cli("init", "x" * 5000, "-m", "swiftformer_xs").code == 2
    for extra in ((), ("--dry-run",)):
        answer = cli(*wanted, *extra)
        assert (answer.code, answer.out) == (2, "")
        assert "there is no nofile.pth" in answer.err
        assert "--no-pin" in answer.err
    assert tree(tmp_path) == []
    answer = cli(*wanted, "--no-pin")
    assert (answer.code, answer.out) == (0, "swiftdeploy.toml\n")
    assert "CHECKPOINT: nofile.pth is not there yet" in answer.err
    assert read_config(tmp_path / "swiftdeploy.toml").models[0][1].sha256 is None


def test_init_says_which_other_files_are_not_there_yet(cli, tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").touch()
    wanted = ("init", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits")
    answer = cli(*wanted, "--images", "photos", "--labels", "classes.txt", "--calibration", "more")
    assert answer.code == 0
    for said in ("--images: photos is not", "--labels: classes.txt is not", "--calibration: more is not"):
        assert said in answer.err
    for labels in ("names.txt", "imagenet"):
        answer = cli(*wanted, "--images", tmp_path, "--labels", labels, "--force")
        assert (answer.code, "not there yet" in answer.err) == (0, False)


def test_init_pins_what_a_run_compares(cli, tmp_path, monkeypatch, digits):
    """A folder's pin too is the one that `run` holds it to; a hub id's is not known, and that is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    shutil.copy(digits / "swiftformer_digits.pth", tmp_path / "weights")
    assert cli("init", "weights", "-m", "swiftformer_digits", "--attention", "token_l2").code == 0
    assert len(read_config(tmp_path / "swiftdeploy.toml").models[0][1].sha256) == 64
    assert cli("run", "--dry-run", "--no-cache").code == 0
    with (tmp_path / "weights" / "swiftformer_digits.pth").open("ab") as stream:
        stream.write(b"x")
    assert cli("run", "--dry-run", "--no-cache").code == 4
    answer = cli("init", "hf-hub:org/name", "-m", "swiftformer_xs", "--force")
    assert answer.code == 0
    assert "not pinned" in answer.err


@pytest.mark.parametrize("foreign", ["my own notes", "{}", '{"title": "my schema"}', "[" * 9000, None])
def test_init_replaces_no_foreign_schema_without_force(cli, tmp_path, monkeypatch, digits, foreign):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "swiftdeploy.schema.json"
    data = b"\xff\xfe\x00" if foreign is None else foreign.encode()
    path.write_bytes(data)
    wanted = ("init", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits", "--attention", "token_l2")
    answer = cli(*wanted)
    assert (answer.code, answer.out) == (2, "")
    assert "swiftdeploy.schema.json exists already" in answer.err
    assert (path.read_bytes(), tree(tmp_path)) == (data, [str(path)])
    assert cli(*wanted, "--force").code == 0
    assert json.loads(path.read_text()) == load_schema("config/config")


def test_init_renews_a_schema_of_its_own(cli, tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "swiftdeploy.schema.json"
    path.write_text(json.dumps({**load_schema("config/config"), "description": "of an earlier version"}))
    assert cli("init", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits").code == 0
    assert json.loads(path.read_text()) == load_schema("config/config")


def test_every_budget_that_init_suggests_is_right(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = cli("init", "w.pth", "-m", "swiftformer_xs", "--no-pin", "--dry-run").out
    wanted = "\n".join(line.removeprefix("# ") for line in text.splitlines() if not line.startswith("# Limits"))
    (tmp_path / "swiftdeploy.toml").write_text(wanted)
    ((_, entry),) = read_config(tmp_path / "swiftdeploy.toml").models
    assert (entry.budgets.size.max, entry.budgets.parity.min) == ("25 MB", 45.0)


@pytest.mark.parametrize(
    ("extra", "fact"),
    [
        (("-t", "core"), "--target: 'core' is none of coreml, onnx"),
        (("-p", "int3"), "--precision: precision 'int3' is not known"),
        (("--attention", "max"), "--attention: 'max' is none of"),
        (("-p", "int8"), "--calibration: onnx int8 is calibrated on images"),
        (("-p", "w8a8"), "swiftformer_xs: precision 'w8a8' needs iOS 17"),
        (("--min-ios", "14"), "--min-ios: 14 is none of"),
        (("--name", "a/b"), "a/b: the name becomes a folder"),
        (("--name", "run.json"), "run.json: its folder would take the place of the report"),
    ],
)
def test_init_writes_nothing_that_would_not_parse(cli, tmp_path, monkeypatch, extra, fact):
    monkeypatch.chdir(tmp_path)
    answer = cli("init", "w.pth", "-m", "swiftformer_xs", *extra)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {fact}")  # the option, and no line of a file that is not there
    assert "swiftdeploy.toml" not in answer.err
    assert tree(tmp_path) == []


def test_init_takes_the_system_that_a_precision_needs(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("init", "w.pth", "-m", "swiftformer_xs", "--no-pin", "-p", "int4", "--min-ios", "18").code == 0
    assert dict(read_config(Path("swiftdeploy.toml")).models)["swiftformer_xs"].min_ios == 18


def test_init_refuses_a_name_that_the_file_cannot_hold(command, tmp_path):
    answer = command("init", os.fsdecode(b"w\xff.pth"), "-m", "swiftformer_xs", "--no-pin", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: the byte ff of a name is no UTF-8")
    assert list(tmp_path.iterdir()) == []


def test_init_refuses_a_model_that_no_catalog_has(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli("init", "w.pth", "-m", "swiftformer_sx")
    assert answer.code == 4
    assert "or swiftformer_xs or" in answer.err
    assert tree(tmp_path) == []
    assert (
        cli("init", "w.pth", "-m", "elsewhere.nets:make", "--no-pin").code == 0
    )  # a factory is looked up where it will run


def test_init_without_a_terminal_does_not_ask(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli("init", "w.pth")
    assert answer.code == 2
    assert "nobody is here to be asked" in answer.err


def test_init_asks_on_a_terminal(tmp_path, digits):
    """The questions are answered as a person would, through a pseudo-terminal."""
    script = "from swiftdeploy.cli import main; main()"
    child = pexpect.spawn(sys.executable, ["-c", script, "init", "--name", "d"], cwd=str(tmp_path), timeout=120)
    child.setwinsize(40, 400)  # a question is one line
    # Each question by its whole text: what arrives in one read may end anywhere, also behind a question's inner colon.
    for shown, answer in (
        ("Checkpoint (file, folder or hf-hub:org/name): ", str(digits / "swiftformer_digits.pth")),
        ("or module:factory): ", "swiftformer_digitz"),
        ("did you mean swiftformer_digits", None),
        ("or module:factory): ", "swiftformer_digits"),
        ("Attention (sum, token_l2; empty where the weights tell) []: ", "token_l2"),
    ):
        child.expect_exact(shown)
        if answer is not None:
            child.sendline(answer)
    child.expect_exact("swiftdeploy.toml\r\n")
    child.expect_exact("next: swiftdeploy run")
    child.expect_exact(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    ((name, entry),) = read_config(tmp_path / "swiftdeploy.toml").models
    assert (name, entry.model, entry.attention) == ("d", "swiftformer_digits", "token_l2")
