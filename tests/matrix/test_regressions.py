"""What `swiftdeploy run` is for: a fresh folder is green in two commands, and whatever gets worse is red and says why.

One run makes the whole matrix of the digits. Every regression is then told by the exit code, by JUnit and in Markdown.
"""

import html
import json
import shutil
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import torch

from swiftdeploy.runs import read_run
from swiftdeploy.schema import load_schema

INIT = (
    "init",
    "digits.pth",
    "-m",
    "swiftformer_digits",
    "--attention",
    "token_l2",
    "--name",
    "digits",
    "--calibration",
    "images",
)
PRECISIONS = ("fp16", "fp32", "int8")
BUDGETS = """
[models.digits.budgets]
size = { max = "2 MB" }
parity = { min = 50 }
top1 = { images = "images", min = 0.99 }
"""
AGAINST_THE_RELEASE = """
[models.digits.budgets]
size = { max_ratio = 1.0 }
parity = { max_drop = 0 }
top1 = { images = "images", max_drop = 0 }
"""
# Each is the release's fp32 or fp16 ONNX artifact, made worse in one way.
WORSE = """
output = "worse"
baseline = "released/digits"

[defaults]
targets = ["onnx"]
precisions = ["fp32"]
attention = "token_l2"

[models.size]
model = "swiftformer_digits"
checkpoint = "digits.pth"
opset = 17                                 # without an op for GELU the graph says more words
budgets.size = { max_ratio = 1.0 }

[models.accuracy]
model = "swiftformer_digits"
checkpoint = "forgetful.pth"
budgets.top1 = { images = "images", min = 0.99 }

[models.parity]
model = "swiftformer_digits"
checkpoint = "loud.pth"
precisions = ["fp16"]
"""


class Project:
    """A repository with the demo model, some of its images, and a command line that keeps to the folder."""

    def __init__(self, folder, digits, command):
        self.folder, self.command = folder, command
        shutil.copy(digits / "swiftformer_digits.pth", folder / "digits.pth")
        for place in sorted((digits / "images").iterdir()):
            (folder / "images" / place.name).mkdir(parents=True)
            shutil.copy(min(place.iterdir()), folder / "images" / place.name)

    def __call__(self, *arguments):
        environment = {"XDG_CACHE_HOME": str(self.folder / "xdg"), "GITHUB_STEP_SUMMARY": str(self.folder / "step.md")}
        return self.command(*arguments, cwd=self.folder, env=environment)

    def told(self, output, name):
        """(JUnit's words, Markdown's lines) about what failed of one model."""
        suites = ET.parse(self.folder / output / "junit.xml").getroot()
        (suite,) = suites.findall(f"testsuite[@name='{name}']")
        cases = [*suite.iter("failure"), *suite.iter("error")]
        assert len(cases) == int(suite.get("failures")) + int(suite.get("errors"))
        text = html.unescape((self.folder / output / "summary.md").read_text())
        lines = [line for line in text.splitlines() if line.startswith(f"- **{name}")]
        return [case.get("message") for case in cases], lines

    def red(self, code, reason, *, output="dist", name="digits", config="swiftdeploy.toml"):
        """Run, and hold all three to the code and the reason."""
        done = self("run", "-c", config)
        assert done.returncode == code, done.stderr
        self.says(reason, output, name)
        return done

    def says(self, reason, output, name):
        junit, markdown = self.told(output, name)
        assert [reason in message for message in junit] == [True], junit
        assert [reason in line for line in markdown] == [True], markdown


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits, command):
    """(the project, what `run` said): `init`, budgets, and one run from nothing."""
    project = Project(tmp_path_factory.mktemp("fresh"), digits, command)
    wanted = [word for precision in PRECISIONS for word in ("-p", precision)]
    assert project(*INIT, *wanted).returncode == 0
    path = project.folder / "swiftdeploy.toml"
    path.write_text(path.read_text() + BUDGETS)
    done = project("run")
    shutil.copytree(project.folder / "dist", project.folder / "released")
    return project, done


@pytest.fixture
def project(made):
    """The project as the first run left it, whatever a test does to it."""
    project, _ = made
    kept = {path: path.read_bytes() for path in (project.folder / "swiftdeploy.toml", project.folder / "digits.pth")}
    yield project
    for path, data in kept.items():
        path.write_bytes(data)
    for name in ("dist", "worse"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    shutil.copytree(project.folder / "released", project.folder / "dist")


def test_a_fresh_folder_is_green_with_every_report(made):
    project, done = made
    assert done.returncode == 0, done.stderr
    report = read_run(project.folder / "dist")
    (job,) = report.jobs
    made = {artifact.path for artifact in job.summary.artifacts}
    assert {(a.target, a.precision) for a in job.summary.artifacts} == {tuple(name.split()) for name in job.artifacts}
    assert {name.split()[0] for name in job.artifacts} == {"coreml", "onnx"}
    assert {name.split()[1] for name in job.artifacts} == set(PRECISIONS)
    assert {check.verdict for check in job.checks} == {"pass"}
    for key in ("size.max", "parity.min", "top1.min"):
        assert {check.subject for check in job.checks if check.name == f"budget.{key}"} == made
    folder = project.folder / "dist"
    jsonschema.validate(json.loads((folder / "run.json").read_text()), load_schema("run"))
    suites = ET.parse(folder / "junit.xml").getroot()
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == (str(len(job.checks)), "0", "0")
    assert json.loads((folder / "placement.sarif").read_text())["runs"][0]["results"]
    assert "## swiftdeploy: passed" in (folder / "summary.md").read_text()
    assert (project.folder / "step.md").read_text().startswith("## swiftdeploy: passed")
    page = (folder / "index.html").read_text()
    assert all(name in page for name in made)
    assert project.told("dist", "digits") == ([], [])


def test_the_second_run_is_warm_and_holds_against_the_release(project):
    """Not even a worker is started: what was made is cached, and the budgets are judged anew."""
    text = (project.folder / "swiftdeploy.toml").read_text().replace(BUDGETS, AGAINST_THE_RELEASE)
    (project.folder / "swiftdeploy.toml").write_text('baseline = "released"\n' + text)
    done = project("run", "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert (job["status"], job["cache"]["state"], job["seconds"]) == ("cached", "hit", {})
    judged = {check["name"]: check["verdict"] for check in job["checks"] if check["name"].startswith("budget.")}
    assert judged == {"budget.size.max_ratio": "pass", "budget.parity.max_drop": "pass", "budget.top1.max_drop": "pass"}


def test_other_weights_are_red(project):
    state = torch.load(project.folder / "digits.pth", weights_only=True)
    state["model"]["head.bias"][0] += 2**-20
    torch.save(state, project.folder / "digits.pth")
    project.red(4, "swiftdeploy.toml pins e024a65d569e49c5")


@pytest.mark.parametrize("what", ["dist/digits", "released/digits"])
def test_one_other_byte_is_red(project, what):
    """In the bundle that lies in the output, and in the one that is compared with."""
    text = (project.folder / "swiftdeploy.toml").read_text()
    (project.folder / "swiftdeploy.toml").write_text('baseline = "released/digits"\n' + text)
    path = project.folder / what / "swiftformer_digits-fp32.onnx"
    sound = path.read_bytes()
    path.write_bytes(sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:])
    project.red(7, "changed swiftformer_digits-fp32.onnx")
    path.write_bytes(sound)
    assert project("run").returncode == 0


def test_one_other_byte_in_the_cache_is_found(project):
    """A cache may lose its entries: a run makes such a bundle anew, and `cache verify` is what is red."""
    (path,) = (project.folder / "xdg").rglob("swiftformer_digits-fp32.onnx")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert "changed swiftformer_digits-fp32.onnx" in project("run", "--dry-run").stdout
    done = project("cache", "verify")
    assert done.returncode == 7
    assert "changed swiftformer_digits-fp32.onnx" in done.stdout + done.stderr
    path.write_bytes(sound)


def test_whatever_gets_worse_is_red(project):
    """Three models in one run, each worse than the release in its own way; none hides another."""
    state = torch.load(project.folder / "digits.pth", weights_only=True)
    head = {name: value.clone() for name, value in state["model"].items() if name.startswith("head.")}
    state["model"].update({name: value.roll(1, 0) for name, value in head.items()})  # every answer is one class off
    torch.save(state, project.folder / "forgetful.pth")
    state["model"].update({name: value * 1e5 for name, value in head.items()})  # more than fp16 can say
    torch.save(state, project.folder / "loud.pth")
    (project.folder / "worse.toml").write_text(WORSE)
    done = project("run", "-c", "worse.toml", "--jobs", "1", "--no-cache")
    assert done.returncode == 6, done.stderr
    assert [job.exit_code for job in read_run(project.folder / "worse").jobs] == [6, 6, 6]
    project.says("at most 1 times the baseline's 1.368 MB", "worse", "size")
    project.says("0.00 %, at least 99.00 %", "worse", "accuracy")
    project.says("fails leg 'outputs'", "worse", "parity")
