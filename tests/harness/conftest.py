"""Models, projects and measurements that the harness's tests share; Swift is built once a session."""

import dataclasses
import fcntl
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from swiftdeploy.harness import measurement as values
from swiftdeploy.harness.digest import tree_sha256
from swiftdeploy.harness.model import HarnessModel
from swiftdeploy.harness.plan import Plan, TensorPlan
from swiftdeploy.harness.render import render
from swiftdeploy.harness.statistics import summarize

SMALL = Plan(rounds=6, predictions_per_round=8, compute_units=("all", "cpuOnly"))


def write_package(folder: Path, weights: bytes = b"weights") -> Path:
    data = folder / "Data/com.apple.CoreML/weights"
    data.mkdir(parents=True)
    (folder / "Manifest.json").write_text("{}")
    (data / "weight.bin").write_bytes(weights)
    return folder


@pytest.fixture
def make_model(tmp_path):
    """A model with a package of its own and random golden data."""

    def make(name="xs", **changes):
        package = changes.pop("package", None) or write_package(tmp_path / f"{name}.mlpackage", name.encode())
        rng = np.random.default_rng(1)
        given = {
            "name": name,
            "precision": "fp16",
            "package": package,
            "sha256": tree_sha256(package),
            "inputs": (TensorPlan(name="image", shape=(1, 3, 4, 4)),),
            "outputs": (TensorPlan(name="logits", shape=(1, 7)),),
            "golden_inputs": {"image": rng.standard_normal((3, 3, 4, 4))},
            "golden_outputs": {"logits": rng.standard_normal((3, 7))},
        }
        return HarnessModel(**(given | changes))

    return make


@pytest.fixture
def make_plan(make_model):
    """A small plan over models made by `make_model`."""

    def make(*names, **changes):
        models = tuple(make_model(name).plan() for name in names or ("xs",))
        return dataclasses.replace(SMALL, models=models, **changes)

    return make


def placement():
    rows = [
        ("conv", "neuralEngine", ("cpu", "gpu", "neuralEngine"), 0.7),
        ("softmax", "gpu", ("cpu", "gpu"), 0.2),
        ("linear", "cpu", ("cpu",), 0.1),
    ]
    return tuple(
        values.OpPlacement(op=op, output=f"{op}_0", preferred=preferred, supported=supported, cost=cost)
        for op, preferred, supported, cost in rows
    )


def parity_of(model, error=1e-6):
    samples = tuple(
        values.SampleParity(
            max_abs_reference=2.0, squared_error=error * (i + 1), max_abs=0.001, non_finite=0, top1=True, top5=True
        )
        for i in range(3)
    )
    worst = 20 * math.log10(2.0 / math.sqrt(error * 3 / 7))
    return tuple(
        values.DeviceParity(output=o.name, count=7, psnr_db=worst, verdict="pass", samples=samples)
        for o in model.outputs
    )


def measure(plan, medians=None, *, seed=0, sigma=0.03, device=None, launch="launch-1", common=0.0, **facts):
    """What a device would write for `plan`: log-normal latencies around `medians` ((label, unit) -> ms).

    `common` is a relative drift over the rounds that all pairs share, which pairing must cancel.
    """
    rng = np.random.default_rng(seed)
    places = [{pair: place for place, pair in enumerate(order)} for order in plan.schedule()]
    pairs = []
    for index, (model, unit) in enumerate(plan.pairs):
        median = (medians or {}).get((model.label, unit), 1.0)
        rounds = []
        for r in range(plan.rounds):
            drift = 1 + common * r / plan.rounds
            times = median * drift * np.exp(sigma * rng.standard_normal(plan.predictions_per_round))
            rounds.append(
                values.Round(
                    index=r,
                    position=places[r][index],
                    start_ns=r * 10**9 + places[r][index] * 10**7,
                    thermal="nominal",
                    warm_up=values.WarmUp(predictions=24, settled=True),
                    samples_ns=tuple((times * 1e6).astype(int).tolist()),
                )
            )
        figures = summarize(
            [r.samples_ns for r in rounds],
            resamples=plan.bootstrap.resamples,
            confidence_percent=plan.bootstrap.confidence_percent,
            seed=plan.seed,
        )
        pairs.append(
            values.PairResult(
                model=model.name,
                precision=model.precision,
                sha256=model.sha256,
                weights_sha256=model.weights_sha256,
                unit=unit,
                status="measured",
                load=values.LoadTimes(
                    cold_ns=900_000_000, warm_ns=30_000_000, first_prediction_ns=4_000_000, output_backings=True
                ),
                placement=placement(),
                parity=parity_of(model),
                rounds=tuple(rounds),
                statistics=figures,
            )
        )
    power = values.PowerReading(low_power_mode=False, battery_percent=80, charging=False)
    given = {
        "schema": 1,
        "kind": values.KIND,
        "created_at": "2026-01-02T03:04:05Z",
        "launch_id": launch,
        "plan": plan,
        "device": device or phone(),
        "process": values.ProcessFacts(debug_build=False, debugger_attached=False, host="app"),
        "power": values.PowerFacts(before=power, after=power),
        "thermal": values.ThermalFacts(before="nominal", max="nominal", after="nominal", waited_ms=0),
        "pairs": tuple(pairs),
        "invalid": (),
        "seal": "0" * 64,
    }
    return values.Measurement(**(given | facts))


def phone(model="iPhone14,7", version="16.0", build="20A362"):
    return values.DeviceFacts(
        kind="phone", model=model, system="iOS", os_version=version, os_build=build, processors=6, memory_bytes=6 << 30
    )


@pytest.fixture(name="measure")
def measure_fixture():
    return measure


@pytest.fixture(name="phone")
def phone_fixture():
    return phone


@pytest.fixture(scope="session")
def swift_root(tmp_path_factory):
    """A folder for Swift's builds that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if base.name.startswith("popen-") else base) / "swift"
    root.mkdir(exist_ok=True)
    return root


@pytest.fixture(scope="session")
def swift():
    found = shutil.which("swift")
    if found is None:
        pytest.skip("swift is not on the PATH: the Swift half of the harness was neither compiled nor tested")
    return found


def run(*command, cwd=None, timeout=400):
    """A command's output; a failure shows all of it."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session", name="run")
def run_fixture():
    return run


@pytest.fixture(scope="session")
def swift_project(swift_root):
    """A rendered project with two models, the same for every worker."""
    with (swift_root / "project.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (swift_root / "Bench").exists():
            rng = np.random.default_rng(3)
            models = []
            for name in ("swiftformer_xs", "mobilevitv2_1.0"):
                package = write_package(swift_root / f"{name}.mlpackage", name.encode())
                models.append(
                    HarnessModel(
                        name=name,
                        precision="fp16",
                        package=package,
                        sha256=tree_sha256(package),
                        inputs=(TensorPlan(name="image", shape=(1, 3, 8, 8)),),
                        outputs=(TensorPlan(name="logits", shape=(1, 10)), TensorPlan(name="map", shape=(1, 2, 4, 4))),
                        golden_inputs={"image": rng.standard_normal((4, 1, 3, 8, 8))},
                        golden_outputs={
                            "logits": 4 * rng.standard_normal((4, 1, 10)),
                            "map": rng.standard_normal((4, 1, 2, 4, 4)),
                        },
                    )
                )
            render(models, swift_root / "Bench")
    return swift_root / "Bench"


@pytest.fixture(scope="session")
def benchkit(swift, swift_root, swift_project):
    """BenchKit of the rendered project, built with its tests; answers with (package folder, scratch folder)."""
    package, scratch = swift_project / "BenchKit", swift_root / "scratch"
    with (swift_root / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (swift_root / "built").exists():
            run(
                swift, "build", "-c", "release", "--build-tests", "--scratch-path", scratch,
                "-Xswiftc", "-warnings-as-errors", cwd=package,
            )  # fmt: skip
            (swift_root / "built").touch()
    return package, scratch
