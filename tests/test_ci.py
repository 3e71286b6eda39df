"""The drop-in CI files: parsed, and their shell steps run as the services run them, on the demo model.

Only what needs a network is replaced: `python3 -m venv` and `pip install` by a recorder, actions of others by nothing.
"""

import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from swiftdeploy import bundle
from swiftdeploy.matrix.cache import default_folder

ROOT = Path(__file__).parent.parent
ACTION = ROOT / "action.yml"
WORKFLOW = ROOT / "examples" / "ci" / "github-workflow.yml"
GITLAB = ROOT / "examples" / "ci" / "gitlab-ci.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
# As GitHub starts a step with `shell: bash`, and GitLab's runner a job.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
TOML = """
[models.digits]
model = "swiftformer_digits"
checkpoint = "swiftformer_digits.pth"
attention = "token_l2"
targets = ["onnx"]
precisions = ["fp32"]
"""
RECORDER = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "{log}"
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "{swiftdeploy}" "$3/bin/swiftdeploy"
fi
"""


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def runnable(path, text):
    path.write_text(text)
    path.chmod(0o755)


def write_project(folder, digits):
    folder.mkdir(parents=True)
    (folder / "swiftdeploy.toml").write_text(TOML)
    shutil.copyfile(digits / "swiftformer_digits.pth", folder / "swiftformer_digits.pth")
    return folder


@pytest.fixture
def project(tmp_path, digits):
    """The demo model in a repository of its own, with swiftdeploy in tools/."""
    folder = write_project(tmp_path / "repository", digits)
    (folder / "tools").mkdir()
    (folder / "tools" / "swiftdeploy").symlink_to(ROOT)
    return folder


@pytest.fixture
def kept(shared, digits, command, tmp_path):
    """What the services bring back from an earlier build: a cache that has the demo model."""

    def make(folder):
        project = write_project(folder / "project", digits)
        done = command("run", "--cache", folder / "cache", cwd=project)
        assert done.returncode == 0, done.stderr

    return shutil.copytree(shared("ci", make) / "cache", tmp_path / "kept" / "swiftdeploy")


@pytest.fixture
def tools(tmp_path):
    """(folder with a python3 that records, its log): what a fresh machine has before swiftdeploy is installed."""
    folder = tmp_path / "tools"
    folder.mkdir()
    swiftdeploy = tmp_path / "swiftdeploy"
    line = "from swiftdeploy.cli import main; main()"
    runnable(swiftdeploy, f'#!/usr/bin/env bash\nexec {shlex.quote(sys.executable)} -c "{line}" "$@"\n')
    runnable(folder / "python3", RECORDER.format(log=tmp_path / "installed", swiftdeploy=swiftdeploy))
    return folder, tmp_path / "installed"


class GitHub:
    """As much of a runner as the action needs: expressions, environment files, and steps in order.

    `summary` is what the steps of the last run wrote: each has a file of its own, as on the service.
    """

    def __init__(self, temp, workspace, path, kept):
        self.temp, self.workspace, self.path = temp, workspace, path
        temp.mkdir()
        self.summary = ""
        self.environment = {"GITHUB_ACTIONS": "true", "XDG_CACHE_HOME": str(kept.parent)}
        for name in ("GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
            self.environment[name] = str(temp / name)
            (temp / name).touch()

    def value(self, expression, inputs):
        known = {
            "github.action_path": str(ROOT),
            "runner.temp": str(self.temp),
            **{f"inputs.{name}": value for name, value in inputs.items()},
        }
        return known[expression.strip()]

    def text(self, text, inputs):
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: self.value(match[1], inputs), str(text))

    def wanted(self, condition, inputs, *, failed):
        if condition is None:
            return not failed
        if condition == "always()":
            return True
        left, operator, right = re.fullmatch(r"(\S+) (==|!=) '(.*)'", condition).groups()
        return not failed and (self.value(left, inputs) == right) == (operator == "==")

    def run(self, action, given):
        inputs = {name: str(spec["default"]) for name, spec in action["inputs"].items()}
        assert given.keys() <= inputs.keys()
        inputs.update(given)
        self.summary = ""
        done = []
        for step in action["runs"]["steps"]:
            failed = any(code for _, code, _ in done)
            if not self.wanted(step.get("if"), inputs, failed=failed):
                continue
            if "uses" in step:
                values = {name: self.text(value, inputs) for name, value in step["with"].items()}
                done.append((step["name"], 0, values))
                continue
            done.append((step["name"], *self.step(step, inputs)))
        return done

    def step(self, step, inputs):
        assert step["shell"] == "bash"
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        (self.temp / "GITHUB_STEP_SUMMARY").write_text("")
        added = self.temp.joinpath("GITHUB_PATH").read_text().splitlines()
        environment = {
            "HOME": str(self.temp),
            "RUNNER_TEMP": str(self.temp),
            "OMP_NUM_THREADS": "1",
            **self.environment,
            **{name: self.text(value, inputs) for name, value in step.get("env", {}).items()},
            "PATH": ":".join([*reversed(added), str(self.path), "/usr/bin", "/bin"]),
        }
        place = self.workspace / self.text(step.get("working-directory", "."), inputs)
        finished = subprocess.run(
            [*BASH, str(script)], cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        self.summary += (self.temp / "GITHUB_STEP_SUMMARY").read_text()
        return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture
def github(tmp_path, project, tools, kept):
    return GitHub(tmp_path / "runner", project, tools[0], kept)


def codes(done):
    return {name: code for name, code, _ in done}


GREEN = ("Install swiftdeploy", "Run", "Collect the reports", "Upload the reports", "Pack", "Upload the bundles")
REPORTS = {"run.json", "junit.xml", "placement.sarif", "summary.md", "index.html"}


def key(folder, passphrase):
    from swiftdeploy.bundle import sign

    sign.new_key(folder / "key", passphrase=passphrase, dry_run=False)
    return (folder / "key").read_text()


def test_the_action_runs_signs_packs_and_uploads(github, project, tools, tmp_path):
    """Everything at once, in a folder whose name would be a command if it were spliced into a script."""
    odd = 'models "$(touch pwned)" `touch pwned`; touch pwned'
    (project / odd).mkdir()
    for name in ("swiftdeploy.toml", "swiftformer_digits.pth"):
        (project / name).rename(project / odd / name)
    secret = key(tmp_path, b"open sesame")
    given = {
        "directory": odd,
        "signing-key": secret,
        "signing-passphrase": "open sesame",
        "artifact": "x'; touch pwned",
        "options": "--jobs=1\n\n--memory=8 GB\n",
    }
    done = github.run(load(ACTION), given)
    assert list(codes(done).items()) == [(name, 0) for name in (*GREEN[:4], "Sign", *GREEN[4:])], done
    made = project / odd / "dist" / "digits"
    assert "-m pip install" in tools[1].read_text()
    assert "constraints.txt" in tools[1].read_text()
    from swiftdeploy.pipeline.signing import verify_signature

    assert len(verify_signature(made, tmp_path / "key.pub")) == 64
    uploads = {name: values for name, _, values in done if name.startswith("Upload")}
    assert uploads["Upload the bundles"]["name"] == "x'; touch pwned"
    (packed,) = Path(uploads["Upload the bundles"]["path"]).iterdir()
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert bundle.records(tmp_path / "unpacked" / "digits") == bundle.records(made)
    assert {path.name for path in Path(uploads["Upload the reports"]["path"]).iterdir()} == REPORTS
    assert github.summary.startswith("## swiftdeploy: passed")
    assert github.summary.count("##") == github.summary.count("###") + 1  # once, by the run itself
    assert not list(tmp_path.rglob("pwned"))
    private = secret.splitlines()[1]
    leaked = [path for path in (*github.temp.rglob("*"), *project.rglob("*")) if holds(path, private)]
    assert leaked == []
    assert private not in json.dumps([entry for _, _, entry in done])


def test_a_red_run_uploads_its_reports_and_no_bundle(github, project, kept, command):
    """A size that the release does not allow; the annotation, the summary and JUnit say so."""
    assert command("run", "--cache", kept, cwd=project).returncode == 0
    (project / "dist").rename(project / "release")
    limited = 'baseline = "fetched elsewhere"\n' + TOML + "budgets.size.max_ratio = 0.5\n"
    (project / "swiftdeploy.toml").write_text(limited)
    done = github.run(load(ACTION), {"baseline": "release"})
    assert codes(done) == {"Install swiftdeploy": 0, "Run": 6, "Collect the reports": 0, "Upload the reports": 0}
    reason = "1.368 MB, at most 0.5 times the baseline's 1.368 MB"
    assert "::error title=digits / swiftformer_digits-fp32.onnx%3A budget.size.max_ratio::" + reason in done[1][2]
    assert reason.replace("'", "&#39;") in github.summary or reason in github.summary
    reports = Path(done[-1][2]["path"])
    assert {path.name for path in reports.iterdir()} == REPORTS
    assert reason in (reports / "junit.xml").read_text()
    (project / "swiftdeploy.toml").write_text(limited.replace("0.5", "1.0"))
    done = github.run(load(ACTION), {"baseline": "release"})
    assert codes(done) == dict.fromkeys(GREEN, 0), done


def holds(path, text):
    return path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()


def test_a_damaged_checkpoint_stops_the_action_and_says_why(github, project):
    (project / "swiftformer_digits.pth").unlink()
    done = github.run(load(ACTION), {})
    assert codes(done) == {"Install swiftdeploy": 0, "Run": 4, "Collect the reports": 0, "Upload the reports": 0}
    assert "swiftformer&#95;digits.pth is not there" in github.summary


def test_what_ends_before_the_first_model_is_in_the_summary_too(github, project, tools):
    (project / "swiftdeploy.toml").write_text(TOML.replace("attention", "attentoin"))
    done = github.run(load(ACTION), {})
    assert codes(done) == {"Install swiftdeploy": 0, "Run": 3, "Collect the reports": 0, "Upload the reports": 0}
    assert github.summary.startswith("## swiftdeploy: nothing was run (exit code 3)")
    assert "unknown key 'attentoin'" in github.summary


def test_nothing_is_installed_where_that_is_not_wanted(github, tools):
    done = github.run(load(ACTION), {"install": "false"})
    assert done[0][:2] == ("Run", 127)
    assert not tools[1].exists()


def steps_of(path):
    """Every step and job body of a file that has scripts."""
    plain = load(path)
    if path == ACTION:
        return plain["runs"]["steps"]
    return [step for job in plain["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", [ACTION, WORKFLOW], ids=lambda path: path.name)
def test_no_expression_is_spliced_into_a_script(path):
    for step in steps_of(path):
        assert "${{" not in step.get("run", ""), step["name"]
        assert ("shell" in step) == ("run" in step)


def test_that_check_can_fail(monkeypatch, tmp_path):
    bad = tmp_path / "action.yml"
    bad.write_text(ACTION.read_text().replace('"$BASELINE"', '"${{ inputs.baseline }}"'))
    monkeypatch.setitem(globals(), "ACTION", bad)
    with pytest.raises(AssertionError, match="Run"):
        test_no_expression_is_spliced_into_a_script(bad)


def test_every_input_is_used_and_every_used_one_is_declared():
    text = ACTION.read_text()
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(load(ACTION)["inputs"])
    for spec in load(ACTION)["inputs"].values():
        assert spec["description"].endswith(".")


def test_the_workflow_calls_the_action_with_inputs_that_it_has(monkeypatch):
    steps = steps_of(WORKFLOW)
    (ours,) = [step for step in steps if step["uses"].startswith("./")]
    (cache,) = [step for step in steps if step["uses"].startswith("actions/cache@")]
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Path(cache["with"]["path"]).expanduser() == default_folder()
    assert (ROOT / "action.yml").is_file()
    assert ours["uses"] == "./tools/swiftdeploy"
    assert ours["with"].keys() <= load(ACTION)["inputs"].keys()
    secrets = [value for name, value in ours["with"].items() if name.startswith("signing")]
    assert all(re.fullmatch(r"\$\{\{ secrets\.[A-Z_]+ \}\}", value) for value in secrets)
    assert load(WORKFLOW)["permissions"] == {"contents": "read"}


def test_the_gitlab_job(project, tools, tmp_path, kept):
    plain = load(GITLAB)
    job = plain["models"]
    (folder,) = job["cache"]["paths"]
    shutil.copytree(kept, project / folder)
    secret = tmp_path / "secret"
    secret.mkdir()
    key(secret, None)
    script = tmp_path / "job.sh"
    script.write_text("\n".join([*job["before_script"], *job["script"]]) + "\n")
    environment = {
        **{name: str(value) for name, value in plain["variables"].items()},
        "PATH": f"{tools[0]}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "SWIFTDEPLOY_KEY": str(secret / "key"),
    }
    done = subprocess.run(
        [*BASH, str(script)], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "-m pip install" in tools[1].read_text()
    with zipfile.ZipFile(project / "packed" / "digits.zip") as archive:
        assert {"digits/SHA256SUMS", f"digits/{bundle.ENVELOPE_NAME}"} <= set(archive.namelist())
    assert job["artifacts"]["when"] == "always"
    kept_files = [*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]
    assert {Path(name).name for name in kept_files} == {"packed", *REPORTS}
    assert all((project / name).exists() for name in kept_files)

    # The hooks, in the repository that now has bundles.
    environment["PATH"] = f"{project / '.swiftdeploy' / 'bin'}:/usr/bin:/bin"
    environment["XDG_CACHE_HOME"] = str(kept.parent)
    entries = {hook["id"]: shlex.split(hook["entry"]) for hook in load(HOOKS)}
    assert hook(entries["swiftdeploy-config"], project, environment) == 0
    assert hook(entries["swiftdeploy-run"], project, environment) == 0
    model = project / "dist" / "digits" / "swiftformer_digits-fp32.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    assert hook(entries["swiftdeploy-run"], project, environment) == 7
    (project / "swiftdeploy.toml").write_text(TOML.replace("attention", "attentoin"))
    assert hook(entries["swiftdeploy-config"], project, environment) == 3


def hook(line, folder, environment):
    return subprocess.run(line, cwd=folder, env=environment, check=False, capture_output=True).returncode


def test_the_hooks_have_what_pre_commit_requires():
    for each in load(HOOKS):
        assert each["language"] == "python"
        assert each["pass_filenames"] is False
        assert each.keys() >= {"id", "name", "entry", "description"}
        assert each.get("always_run") or re.search(each["files"], "swiftdeploy.toml")
        assert set(each.get("stages", ())) <= {"pre-commit", "pre-push", "manual"}


def test_what_the_files_install_is_offered():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"\[([a-z]+)\]\"", ACTION.read_text() + GITLAB.read_text()))
    assert extras == {"sign"} <= project["optional-dependencies"].keys()
    assert "swiftdeploy" in project["scripts"]


@pytest.mark.parametrize("path", [ACTION, WORKFLOW, GITLAB, HOOKS], ids=lambda path: path.name)
def test_no_address_stands_in_them(path):
    assert "://" not in path.read_text()
    assert not path.stat().st_mode & stat.S_IXUSR
