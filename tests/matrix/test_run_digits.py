"""The shipped digits through a real run: the same bytes by every road, and budgets that hold or break for a reason."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swiftdeploy.config import read_config
from swiftdeploy.errors import UsageError
from swiftdeploy.matrix.accuracy import accuracy_of
from swiftdeploy.matrix.cache import Cache
from swiftdeploy.matrix.run import RunOptions, run
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.runs import read_run

TOML = """
[models.digits]
model = "swiftformer_digits"
checkpoint = "swiftformer_digits.pth"
attention = "token_l2"
targets = ["onnx"]
precisions = ["fp32"]
"""
BUDGETS = """
[models.digits.budgets]
size = { max = "2 MB" }
parity = { min = 100 }
top1 = { images = "images", min = 0.99 }
"""
RELATIVE = """
[models.digits.budgets]
size = { max = "2 MB", max_ratio = 1.02 }
parity = { min = 100, max_drop = 3 }
top1 = { images = "images", min = 0.99, max_drop = 0.001 }
"""
# A scheduler with one worker, in a process of its own that ends with its stdin.
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    shape = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "protocol": "tcp"}
    with LocalCluster(**shape, dashboard_address="127.0.0.1:0") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def carry_out(project, text, **changes):
    (project / "swiftdeploy.toml").write_text(text)
    options = {"cache": Cache(folder=project / "cache"), **changes}
    return run(read_config(project / "swiftdeploy.toml"), RunOptions(**options))


@pytest.fixture(scope="module")
def project(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("digits-run")
    shutil.copy(digits / "swiftformer_digits.pth", folder)
    for place in sorted((digits / "images").iterdir()):
        (folder / "images" / place.name).mkdir(parents=True)
        for image in sorted(place.iterdir())[:2]:
            shutil.copy(image, folder / "images" / place.name)
    return folder


@pytest.fixture(scope="module")
def first(project):
    """The first run, cold, with budgets that hold; and its bundle's bytes."""
    report = carry_out(project, TOML + BUDGETS)
    shutil.copy(project / "dist" / "run.json", project / "released.json")
    return report, tree(project / "dist" / "digits")


@pytest.fixture(scope="module")
def cluster():
    here = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=60)


def test_it_passes_and_says_what_it_measured(first):
    (job,) = first[0].jobs
    assert (job.status, job.exit_code, job.cache.state) == ("passed", 0, "miss"), job.failure
    assert {"load", "convert", "verify"} <= set(job.seconds)
    assert 100 << 20 < job.peak_memory_bytes < 8 << 30
    checks = {check.name: check for check in job.checks}
    assert checks["budget.top1.min"].value == 1.0
    assert [(row.artifact, row.images) for row in job.summary.accuracy] == [
        *(("", 20), ("swiftformer_digits-fp32.onnx", 20)),
    ]
    assert checks["budget.parity.min"].value > 100
    assert checks["parity.golden"].verdict == "pass"
    assert job.summary.provenance.weights == "trained"


def test_the_bytes_are_those_of_an_export(first, export_to):
    result = export_to(targets=("onnx",), precisions=("fp32",))
    assert result.bundle.name != "digits"  # nor does the folder's name matter
    assert tree(result.bundle) == first[1]


def test_a_cached_bundle_verifies_and_is_the_same(project, first):
    shutil.rmtree(project / "dist" / "digits")
    (job,) = carry_out(project, TOML + BUDGETS).jobs
    assert (job.status, job.seconds, job.peak_memory_bytes) == ("cached", {}, None)
    assert (job.summary, job.checks) == (first[0].jobs[0].summary, first[0].jobs[0].checks)
    assert tree(project / "dist" / "digits") == first[1]
    assert [report.verdict for report in verify_bundle(project / "dist" / "digits").reports] == ["pass"]


def test_a_cluster_gives_the_same_bytes(project, first, cluster):
    shutil.rmtree(project / "dist" / "digits")
    (job,) = carry_out(project, TOML + BUDGETS, cache=None, scheduler=cluster).jobs
    assert (job.status, job.cache.state) == ("passed", "off"), job.failure
    assert tree(project / "dist" / "digits") == first[1]
    assert read_run(project / "dist").executor == "dask"


def test_relative_budgets_hold_against_the_release(project, first):
    report = carry_out(project, 'baseline = "released.json"\n' + TOML + RELATIVE)
    (job,) = report.jobs
    assert (job.status, report.totals.exit_code) == ("cached", 0)
    assert job.baseline == first[0].jobs[0].summary
    names = {check.name for check in job.checks if check.verdict == "pass"}
    assert {"budget.size.max_ratio", "budget.parity.max_drop", "budget.top1.max_drop"} <= names


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ('max = "2 MB"', 'max = "1 MB"', "budget.size.max"),
        ("min = 100", "min = 500", "budget.parity.min"),
        ("max_ratio = 1.02", "max_ratio = 0.99", "budget.size.max_ratio"),
    ],
)
def test_budgets_break_for_a_reason_and_need_no_new_export(project, first, old, new, broken):
    report = carry_out(project, 'baseline = "released.json"\n' + TOML + RELATIVE.replace(old, new))
    (job,) = report.jobs
    assert (job.status, report.totals.exit_code, job.cache.state) == ("failed", 6, "hit")
    assert [check.name for check in job.checks if check.verdict == "fail"] == [broken]
    assert (project / "dist" / "digits").is_dir()


def test_work_on_a_cluster_fails_as_it_does_here(tmp_path, cluster):
    for name, text in {"a": "one", "b": "refuse", "c": "bug"}.items():
        (tmp_path / f"{name}.pth").write_text(text)
    lines = [f'[models.{n}]\nmodel = "swiftformer_digits"\ncheckpoint = "{n}.pth"' for n in "abc"]
    report = carry_out(tmp_path, "\n".join(lines), scheduler=cluster, work="tinywork:build")
    assert [job.exit_code for job in report.jobs] == [0, 6, 1]
    assert json.loads((tmp_path / "dist" / "run.json").read_text())["executor"] == "dask"


def test_accuracy_is_what_the_eager_model_reaches(project, first, oracle, digits, tmp_path):
    """Three of ten images lie in a wrong folder; PyTorch says how the model does on such a set."""
    files = [sorted((digits / "images" / str(label)).iterdir())[0] for label in range(10)]
    labels = [1, 2, 0, *range(3, 10)]
    for label in range(10):
        (tmp_path / str(label)).mkdir()
    for file, label in zip(files, labels, strict=True):
        shutil.copy(file, tmp_path / str(label))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32).transpose(2, 0, 1) for file in files])
    with torch.no_grad():
        best = oracle(torch.from_numpy((pixels / 255 - 0.5) / 0.5)).topk(5).indices.numpy()
    weights = str(project / "swiftformer_digits.pth")
    eager, found = accuracy_of(project / "dist" / "digits", tmp_path, checkpoint=weights, model="swiftformer_digits")
    assert (eager.artifact, found.artifact) == ("", "swiftformer_digits-fp32.onnx")
    assert (eager.top1, eager.top5) == (found.top1, found.top5)
    assert found.images == 10
    assert found.top1 == np.mean([row[0] == label for row, label in zip(best, labels, strict=True)]) < 1
    assert found.top5 == np.mean([label in row for row, label in zip(best, labels, strict=True)])
    for label in range(10):
        (tmp_path / str(label)).rename(tmp_path / f"class {label}")
    shutil.rmtree(tmp_path / "class 9")
    with pytest.raises(UsageError, match="has 9 class folders, the model 10 classes"):
        accuracy_of(project / "dist" / "digits", tmp_path)
