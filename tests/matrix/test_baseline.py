"""What a run may be compared with: a report, a bundle, a folder of bundles; and what is none of these."""

import importlib
import shutil
from pathlib import Path

import pytest

from swiftdeploy.config import read_config
from swiftdeploy.errors import ArtifactError, ConfigError
from swiftdeploy.matrix.baseline import Baselines
from swiftdeploy.matrix.cache import Cache
from swiftdeploy.matrix.run import RunOptions, run
from swiftdeploy.runs import read_run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """project(TOML) -> the configuration; a first run's bundles and report lie in old/."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    tinywork = importlib.import_module("tinywork")
    monkeypatch.setattr("swiftdeploy.matrix.run.run_here", lambda jobs, **_: (tinywork.build(job) for job in jobs))
    for name in "ab":
        (tmp_path / f"{name}.pth").write_text(name)

    def write(extra, *names, **own):
        lines = [f'[models.{n}]\nmodel = "swiftformer_digits"\ncheckpoint = "{n}.pth"\n{own.get(n, "")}' for n in names]
        (tmp_path / "swiftdeploy.toml").write_text("\n".join([extra, *lines]))
        return read_config(tmp_path / "swiftdeploy.toml")

    run(write('output = "old"', "a"), RunOptions(cache=Cache(folder=tmp_path / "cache")))
    return write


def baselines(config):
    found = Baselines(config)
    return {name: summary for name, model in config.models if (summary := found.of(name, model)) is not None}


@pytest.mark.parametrize("given", ["old/run.json", "old", "old/a"])
def test_a_report_its_folder_and_a_bundle(project, given):
    found = baselines(project(f'baseline = "{given}"', "a"))
    assert found["a"].artifacts[1].path == "tiny-fp32.onnx"


def test_a_folder_of_bundles_and_a_model_that_is_new(project, tmp_path):
    (tmp_path / "old" / "run.json").unlink()
    assert set(baselines(project('baseline = "old"', "a", "b"))) == {"a"}


def test_a_models_own_baseline_wins(project, tmp_path):
    shutil.copytree(tmp_path / "old" / "a", tmp_path / "elsewhere")
    assert set(baselines(project('baseline = "nowhere"', "a", a='baseline = "elsewhere"'))) == {"a"}


@pytest.mark.parametrize("given", ["old", "old/a"])
def test_a_byte_that_changed_in_a_bundle_is_found_beside_its_report_as_well(project, tmp_path, given):
    (tmp_path / "old" / "a" / "tiny-fp32.onnx").write_text("tampered")
    with pytest.raises(ArtifactError, match=r"changed tiny-fp32\.onnx"):
        baselines(project(f'baseline = "{given}"', "a"))
    assert set(baselines(project('baseline = "old/run.json"', "a"))) == {"a"}  # the report's own figures are as written


def test_a_bundle_of_which_the_last_report_does_not_speak(project, tmp_path):
    """`run b` alone rewrites the report; the bundle of a lies there as before."""
    run(project('output = "old"', "a", "b"), RunOptions(only=("b",)))
    assert [job.name for job in read_run(tmp_path / "old").jobs] == ["b"]
    assert set(baselines(project('baseline = "old"', "a", "b"))) == {"a", "b"}


def test_without_one_there_is_none(project):
    assert baselines(project("", "a")) == {}


def test_what_is_none(project, tmp_path):
    with pytest.raises(ConfigError, match="nowhere is not there"):
        baselines(project('baseline = "nowhere"', "a"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="neither"):
        baselines(project('baseline = "empty"', "a"))
    (tmp_path / "old" / "a" / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"baseline old/a cannot be compared with: a/manifest\.json has schema"):
        baselines(project('baseline = "old/a"', "a"))


def test_one_report_is_read_once_for_all_models(project, monkeypatch):
    config = project('baseline = "old"', "a", "b")
    read = []
    monkeypatch.setattr("swiftdeploy.matrix.earlier.read_run", lambda path: read.append(path) or read_run(path))
    assert set(baselines(config)) == {"a"}
    assert len(read) == 1


def test_a_damaged_one_fails_its_models_and_no_other(project, tmp_path):
    """The reason is in the report, and nothing was made that could not be judged."""
    (tmp_path / "old" / "a" / "labels.txt").write_text("tampered")
    report = run(project("", "b", "a", a='baseline = "old/a"'), RunOptions())
    good, bad = report.jobs
    assert (good.name, good.status) == ("b", "passed")
    assert (bad.exit_code, bad.failure.stage, report.totals.exit_code) == (7, "baseline", 7)
    assert "changed labels.txt" in bad.failure.fact
    assert not (tmp_path / "dist" / "a").exists()
