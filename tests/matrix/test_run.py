"""A whole run with tiny bundles: what is made, kept, judged and reported, and that one failure hides no other."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from swiftdeploy import bundle
from swiftdeploy.config import read_config
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.matrix import cache as cache_module
from swiftdeploy.matrix.cache import Cache
from swiftdeploy.matrix.plan import plan
from swiftdeploy.matrix.publish import check_published, publish
from swiftdeploy.matrix.run import RunOptions, run
from swiftdeploy.runs import read_run
from swiftdeploy.schema import load_schema
from swiftdeploy.seal import sealed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture
def project(tmp_path, monkeypatch):
    """project(text of each checkpoint by model..., extra TOML) -> the configuration, freshly read."""
    monkeypatch.syspath_prepend(str(HERE))
    folder = tmp_path / "project"
    folder.mkdir()

    def write(extra="", **models):
        lines = []
        for name, text in models.items():
            (folder / f"{name}.pth").write_text(text)
            lines += [f"[models.{name}]", 'model = "swiftformer_digits"', f'checkpoint = "{name}.pth"']
        (folder / "swiftdeploy.toml").write_text("\n".join(lines) + "\n" + extra)
        return read_config(folder / "swiftdeploy.toml")

    write.folder = folder
    return write


@pytest.fixture
def options(tmp_path, project, monkeypatch):
    """options(...) with tiny work, in this process unless there are `workers`, and a cache below tmp_path."""
    tinywork = importlib.import_module("tinywork")

    def here(jobs, *, started, **_):
        for job in jobs:
            started(job)
            yield tinywork.build(job)

    def make(**changes):
        if "workers" not in changes:
            monkeypatch.setattr("swiftdeploy.matrix.run.run_here", here)
        plain = {"cache": Cache(folder=tmp_path / "cache"), "work": "tinywork:build", **changes}
        return RunOptions(**plain)

    return make


def statuses(report):
    return {job.name: (job.status, job.exit_code, job.cache.state) for job in report.jobs}


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_cold_then_warm_with_the_same_bytes(project, options, monkeypatch):
    config = project(a="one", b="two")
    cold = run(config, options(workers=2))
    assert statuses(cold) == {"a": ("passed", 0, "miss"), "b": ("passed", 0, "miss")}
    assert cold.jobs[0].cache.reason == "not made before, or pruned"
    assert (cold.jobs[0].bundle, cold.jobs[0].peak_memory_bytes) == ("dist/a", 1 << 20)
    before = tree(project.folder / "dist" / "a")
    shutil.rmtree(project.folder / "dist")
    monkeypatch.setattr("swiftdeploy.matrix.run.run_here", None)  # no worker may be asked
    warm = run(config, options(workers=2))
    assert statuses(warm) == {"a": ("cached", 0, "hit"), "b": ("cached", 0, "hit")}
    assert tree(project.folder / "dist" / "a") == before
    assert warm.totals.cached == 2
    bundle.read_bundle(project.folder / "dist" / "a")


def test_a_warm_run_leaves_what_is_right_as_it_is(project, options):
    config = project(a="one")
    run(config, options())
    inode = (project.folder / "dist" / "a").stat().st_ino
    run(config, options())
    assert (project.folder / "dist" / "a").stat().st_ino == inode


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: (p.folder / "a.pth").write_text("new"), "changed: checkpoint"),
        (lambda p: p('opset = 18\ntargets = ["onnx"]', a="one"), "changed: options"),
        (lambda p: p('attention = "sum"', a="one"), "changed: model"),
        (lambda p: p('labels = "names.txt"', a="one"), "changed: options, labels"),
    ],
)
def test_what_changed_is_made_anew_and_the_plan_says_why(project, options, change, reason):
    (project.folder / "names.txt").write_text("x\ny\n")
    run(project(a="one"), options())
    changed = change(project)
    config = read_config(project.folder / "swiftdeploy.toml")
    (item,) = plan(config, store=options().cache)
    assert item.entry is None
    assert item.reason.replace("options, ", "") == reason.replace("options, ", "")
    assert changed is not None
    assert run(config, options()).jobs[0].cache.state == "miss"
    assert run(config, options()).jobs[0].cache.state == "hit"


def test_other_versions_and_code_are_other_bundles(project, options, monkeypatch):
    config = project(a="one")
    run(config, options())
    with monkeypatch.context() as patch:
        patch.setattr("swiftdeploy.matrix.fingerprint.versions", lambda: {"torch": "99", "swiftdeploy": "0.1.0"})
        (item,) = plan(config, store=options().cache)
        assert "versions: torch" in item.reason
        assert "→ 99" in item.reason
    monkeypatch.setattr("swiftdeploy.matrix.fingerprint.own_code", lambda: "other")
    (item,) = plan(config, store=options().cache)
    assert item.reason == "changed: swiftdeploy"


def test_one_failure_hides_no_other_and_the_worst_decides(project, options, capfd):
    config = project(good="one", refused="refuse", bug="bug", dead="die", gone="exit", full="memory")
    (project.folder / "lost.pth").touch()
    report = run(config, options(workers=2))
    found = statuses(report)
    assert {name: code for name, (_, code, _) in found.items()} == {
        "good": 0,
        "refused": 6,
        "bug": 1,
        "dead": 8,
        "gone": 8,
        "full": 8,
    }
    assert found["good"][0] == "passed"
    assert report.totals.exit_code == 1
    assert (report.totals.passed, report.totals.failed) == (1, 5)
    by_name = {job.name: job.failure for job in report.jobs}
    assert by_name["refused"].stage == "verify"
    assert by_name["refused"].fact == "a fails leg 'outputs': no"
    assert "killed by SIGKILL" in by_name["dead"].fact
    assert "ended with code 3" in by_name["gone"].fact
    assert by_name["bug"].kind == "Bug"
    assert "KeyError" in capfd.readouterr().err
    assert sorted(p.name for p in (project.folder / "dist").iterdir()) == [
        *("good", "index.html", "junit.xml", "placement.sarif", "run.json", "summary.md"),
    ]
    entries = options().cache.entries
    assert [p for p in entries.iterdir() if not p.name.startswith(".")] == [entries / report.jobs[0].cache.key]


def test_what_is_wrong_before_the_start_is_its_jobs_failure(project, options):
    config = project('\n[models.c]\nuntrained = 0\nmodel = "no_such_model"\n', a="one", b="two")
    (project.folder / "b.pth").unlink()
    (project.folder / "dist" / "a").mkdir(parents=True)
    (project.folder / "dist" / "a" / "thesis.tex").touch()
    report = run(config, options())
    assert {job.name: (job.failure.stage, job.failure.exit_code) for job in report.jobs} == {
        "a": ("plan", 2),
        "b": ("plan", 4),
        "c": ("plan", 4),
    }
    assert report.totals.exit_code == 4
    assert (project.folder / "dist" / "a" / "thesis.tex").exists()


def test_a_pin_that_does_not_fit(project, options):
    config = project('sha256 = "' + "0" * 64 + '"', a="one")
    (job,) = run(config, options()).jobs
    assert (job.exit_code, job.failure.stage) == (4, "plan")
    assert "pins 0000000000000000" in job.failure.fact
    digest = bundle.sha256_of(project.folder / "a.pth")
    assert run(project(f'sha256 = "{digest}"', a="one"), options()).totals.exit_code == 0


def test_a_checkpoint_that_changes_while_it_is_read_is_neither_shipped_nor_kept(project, options):
    (job,) = run(project(a="touch"), options()).jobs
    assert (job.exit_code, job.failure.fact) == (4, "a: its checkpoint changed while it was read")
    assert not (project.folder / "dist" / "a").exists()
    assert cache_module.listed(options().cache) == ()


def test_fail_fast_skips_the_rest(project, options):
    report = run(project(a="refuse", b="one", c="two"), options(fail_fast=True))
    assert [job.status for job in report.jobs] == ["failed", "skipped", "skipped"]
    assert report.totals.exit_code == 6


def test_only_some(project, options):
    config = project(a="one", b="two")
    assert [job.name for job in run(config, options(only=("b",))).jobs] == ["b"]
    with pytest.raises(UsageError, match="no model 'x'"):
        run(config, options(only=("x",)))


def test_without_a_cache_nothing_is_kept(project, options, tmp_path):
    config = project(a="one")
    cached = run(config, options())
    kept = tree(project.folder / "dist" / "a")
    report = run(config, options(cache=None))
    assert statuses(report) == {"a": ("passed", 0, "off")}
    assert tree(project.folder / "dist" / "a") == kept
    assert cached.jobs[0].summary.seal == report.jobs[0].summary.seal
    assert not list((project.folder / "dist" / "a").glob(".*"))


def test_a_worker_serves_several_jobs_and_memory_is_a_bound(project, options):
    config = project(**{f"m{n}": f"{n}" for n in range(5)})
    report = run(config, options(workers=3, memory=1))
    assert report.totals.passed == 5


def test_workers_do_not_write_to_stdout(project, options, capfd):
    run(project(a="noisy"), options(workers=1))
    found = capfd.readouterr()
    assert "must not reach" not in found.out
    assert "must not reach" in found.err


def test_the_report_is_written_whole_and_fits_its_schema(project, options):
    config = project('\n[reports]\nfolder = "reports/ci"\n', a="one", b="refuse")
    report = run(config, options())
    path = project.folder / "reports" / "ci" / "run.json"
    assert read_run(path) == report
    jsonschema.validate(json.loads(path.read_text()), load_schema("run"))
    checks = {(check.name, check.subject): check.verdict for check in report.jobs[0].checks}
    assert checks["integrity", ""] == "pass"
    assert checks["parity.outputs", "tiny-fp32.onnx"] == "pass"
    failed = report.jobs[1].checks
    assert [(c.name, c.subject, c.verdict) for c in failed] == [
        ("export", "", "fail"),
        ("parity", "coreml fp16", "skip"),
    ]


def test_every_report_is_written_unless_the_file_names_fewer(project, options, tmp_path, monkeypatch):
    summary = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    config = project(a="one", b="refuse")
    run(config, options())
    files = {path.name for path in (project.folder / "dist").iterdir() if path.is_file()}
    assert files == {"run.json", "junit.xml", "placement.sarif", "summary.md", "index.html"}
    assert summary.read_text().strip() == (project.folder / "dist" / "summary.md").read_text().strip()
    fewer = project('\n[reports]\nfolder = "few"\nformats = ["junit"]\n', a="one")
    run(fewer, options())
    assert {path.name for path in (project.folder / "few").iterdir()} == {"run.json", "junit.xml"}


def test_results_of_a_device_stay_in_the_bundle(project, options):
    """A stored result makes the bundle differ from the cached one; it is the same model none the less."""
    config = project(a="one")
    run(config, options())
    place = project.folder / "dist" / "a"
    manifest = bundle.read_manifest(place)
    (place / "device").mkdir()
    (place / "device" / "x.json").write_text("{}")
    files = bundle.payload_records(place)
    record = bundle.DeviceRecord(
        path="device/x.json", launch_id="x", created_at="", device="iPhone", models=(), allowed=()
    )
    plain = {name: getattr(manifest, name) for name in manifest.__slots__}
    changed = type(manifest)(
        **{**plain, "device": (record,), "files": files, "tree_sha256": bundle.tree_digest(files), "seal": ""}
    )
    bundle.attest(place, changed)
    kept = cache_module.bundle_of(options().cache, plan(config, store=options().cache)[0].job.key)
    publish(kept, place)
    assert (place / "device" / "x.json").exists()
    (place / "labels.txt").write_text("tampered")
    publish(kept, place)
    assert not (place / "device" / "x.json").exists()
    bundle.read_bundle(place)


def test_tampering_with_the_output_is_told_and_nothing_hides_it(project, options):
    config = project(a="one", b="two")
    run(config, options())
    place = project.folder / "dist" / "a"
    before = tree(place)
    (place / "labels.txt").write_text("tampered")
    report = run(config, options())
    assert [(job.status, job.exit_code) for job in report.jobs] == [("failed", 7), ("cached", 0)]
    assert "changed labels.txt" in report.jobs[0].failure.fact
    assert (place / "labels.txt").read_text() == "tampered"
    shutil.rmtree(place)
    assert run(config, options()).jobs[0].status == "cached"
    assert tree(place) == before


def test_a_bundle_of_another_version_is_replaced(project, options):
    """Its manifest is sound and says other things: that is an upgrade, and no tampering."""
    config = project(a="one")
    run(config, options())
    place = project.folder / "dist" / "a"
    before = tree(place)
    for change in ({"schema": 2}, {"a field of tomorrow": 1}):
        plain = json.loads((place / "manifest.json").read_text())
        (place / "manifest.json").write_text(sealed({**plain, **change}))
        assert run(config, options()).jobs[0].status == "cached"
        assert tree(place) == before


def test_a_bundle_that_another_run_replaces_while_it_is_read_is_no_damage(project, options, monkeypatch):
    config = project(a="one")
    run(config, options())
    place = project.folder / "dist" / "a"
    shutil.copytree(place, project.folder / "other")
    read, seen = bundle.read_bundle, []

    def meanwhile(path):
        seen.append(path)
        if len(seen) == 1:
            place.rename(project.folder / "old")
            (project.folder / "other").rename(place)
            raise ArtifactError("half of each", hint="")
        return read(path)

    monkeypatch.setattr("swiftdeploy.bundle.read_bundle", meanwhile)
    check_published(place)
    assert len(seen) == 2


def test_a_folder_that_refuses(project, options, monkeypatch):
    """Read-only output and a read-only cache: an error that names the place, and nothing lost."""
    (project.folder / "dist").write_text("a file")
    with pytest.raises(ArtifactError, match="dist is no folder"):
        run(project(a="one"), options())
    assert not options().cache.folder.exists()
    (project.folder / "dist").unlink()
    options().cache.folder.write_text("a file")
    (job,) = run(project(a="one"), options()).jobs
    assert (job.exit_code, job.failure.kind) == (7, "ArtifactError")
    assert "--no-cache" in job.failure.hint


def someone_is_left(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from swiftdeploy.config import read_config
from swiftdeploy.cli.app import app, console, output, INTERRUPTED
from swiftdeploy.matrix.cache import Cache
from swiftdeploy.matrix.run import RunOptions, run

if __name__ == "__main__":
    try:
        with console.interruptible():
            run(
                read_config(Path(sys.argv[2])),
                RunOptions(workers=2, cache=Cache(folder=Path(sys.argv[3])), work="tinywork:build"),
            )
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("group", [True, False], ids=["as a terminal does", "as kill does"])
def test_ctrl_c_ends_workers_and_leaves_nothing(project, options, tmp_path, group):
    project(a="slow\na", b="slow\nb")
    (tmp_path / "script.py").write_text(SCRIPT)
    line = [sys.executable, tmp_path / "script.py", HERE, project.folder / "swiftdeploy.toml", tmp_path / "cache"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, start_new_session=True) as process:
        marks = [project.folder / f"{name}.started" for name in "ab"]
        while not all(mark.exists() for mark in marks):
            assert process.poll() is None
            time.sleep(0.05)
        send = os.killpg if group else os.kill
        send(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    while someone_is_left(process.pid):  # Python's own tracker of resources ends a moment after its parent
        time.sleep(0.05)
    assert not (project.folder / "dist").exists()
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_dir() and "staging" in p.name] == []


def test_two_runs_at_once_are_both_right(project, tmp_path):
    project(a="one", b="two")
    (tmp_path / "script.py").write_text(SCRIPT)
    line = [sys.executable, tmp_path / "script.py", HERE, project.folder / "swiftdeploy.toml", tmp_path / "cache"]
    runs = [subprocess.Popen(line, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(p.communicate(timeout=120)[1].count(b"Traceback"), p.returncode) for p in runs] == [(0, 0)] * 2
    for name in "ab":
        bundle.read_bundle(project.folder / "dist" / name)
    found = cache_module.listed(Cache(folder=tmp_path / "cache"), verify=True)
    assert [entry.problem for entry in found] == [""] * 2
    assert {job.status for job in read_run(project.folder / "dist").jobs} <= {"passed", "cached"}
    assert [p.name for p in (project.folder / "dist").iterdir() if p.name.startswith(".")] == []


def test_sigkill_at_any_moment(command_line):
    """Ten kills of the whole group; benchmarks/kill_run.py does as many as one likes."""
    done = command_line("kill_run.py", "--count", "10", "--work", "tinywork:build", "--path", HERE, "--limit", "120")
    found = json.loads(done.stdout)
    assert (found["kills"], found["finds"]) == (10, []), done.stderr
    assert found["kills_that_left_something_aside"] + found["finished_before_the_kill"] > 0


@pytest.fixture
def command_line():
    def call(script, *arguments):
        line = [sys.executable, ROOT / "benchmarks" / script, *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=500)

    return call


# A file system of 200 kB for the output or the cache, in a mount namespace of its own.
SMALL = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tinywork
from swiftdeploy.config import read_config
from swiftdeploy.matrix import run as module
from swiftdeploy.matrix.cache import Cache, listed
module.run_here = lambda jobs, **_: (tinywork.build(job) for job in jobs)
folder = Path(sys.argv[2])
config = read_config(folder / "swiftdeploy.toml")
for small in ("dist", "cache"):
    (folder / small).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", folder / small], check=True)
    store = Cache(folder=folder / "cache")
    (job,) = module.run(config, module.RunOptions(cache=store)).jobs
    hidden = [p.name for p in (folder / small).rglob(".*")]
    print(small, job.exit_code, job.failure.fact.split(": ")[-1], len(listed(store, verify=True)), hidden)
    subprocess.run(["umount", folder / small], check=True)
    for rest in ("dist", "cache"):
        subprocess.run(["rm", "-rf", folder / rest], check=True)
"""


def test_a_full_disk_below_the_output_or_the_cache(project):
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    project(a="x" * 300_000)
    command = [*unshare, sys.executable, "-c", SMALL, str(HERE), str(project.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.stdout.splitlines() == [
        "dist 7 No space left on device 1 []",  # the bundle is kept in the cache, and the next run only copies it
        "cache 7 No space left on device 0 []",
    ], done.stderr
