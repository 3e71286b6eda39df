"""What several folders of tests look at: the shipped checkpoint, exported once; packages of coremltools' builder.

Under pytest-xdist the workers share the results: the first one that needs a bundle makes it, the others wait.
"""

import dataclasses
import fcntl
import gc
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import hypothesis
import pytest

# No verdict by the clock or by chance: the same examples each time, however busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")

MLPROGRAM_DTYPES = {"float32": "fp32", "float16": "fp16", "int32": "int32", "int8": "int8"}
DIGITS = Path(__file__).parent.parent / "examples" / "digits"
# On PYTHONPATH as sitecustomize: a process that believes it is another day.
ANOTHER_DAY = """
import datetime, time

class Date(datetime.date):
    @classmethod
    def today(cls):
        return cls(1999, 12, 31)

class DateTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(1999, 12, 31, 23, 59, 59, tzinfo=tz)

    @classmethod
    def utcnow(cls):
        return cls(1999, 12, 31, 23, 59, 59)

datetime.date, datetime.datetime = Date, DateTime
time.time = lambda: 946684799.0
time.time_ns = lambda: 946684799_000000000
"""


@pytest.fixture(scope="session")
def digits():
    """The folder with the shipped checkpoint, its labels and the held-out images."""
    return DIGITS


@pytest.fixture(scope="session")
def shared(tmp_path_factory, request):
    """shared(name, make) is a folder that make(folder) filled, once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if hasattr(request.config, "workerinput") else base

    def once(name, make):
        folder = root / f"shared-{name}"
        with (root / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "done").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def command():
    """command(*arguments, ...) runs `swiftdeploy` in a process of its own and answers with the finished process."""

    def run(*arguments, wrapped=(), cwd=None, env=None, timeout=300, **options):
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
        line = [*wrapped, sys.executable, "-c", "from swiftdeploy.cli import main; main()", *map(str, arguments)]
        settings = {"cwd": cwd, "env": {**environment, **(env or {})}, "timeout": timeout, **options}
        return subprocess.run(line, check=False, capture_output=True, text=True, **settings)

    return run


@pytest.fixture(scope="session")
def ordinary():
    """What comes before a command so that a file's mode counts for it, as it does for anybody but root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root reads and writes everything, and there is no setpriv")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def request_digits(destination, *, images=None, calibration=None, **options):
    """The request for an export of the shipped checkpoint with these options."""
    from swiftdeploy.pipeline.request import ExportRequest
    from swiftdeploy.spec import ExportOptions

    return ExportRequest(
        model="swiftformer_digits",
        checkpoint=str(DIGITS / "swiftformer_digits.pth"),
        attention="token_l2",
        destination=destination,
        images=images,
        calibration=calibration,
        options=ExportOptions(**options),
    )


@pytest.fixture(scope="session")
def digits_request():
    """What makes such a request."""
    return request_digits


def export_digits(folder):
    from swiftdeploy.pipeline.export import export

    export(request_digits(folder / "digits", targets=("coreml", "onnx"), precisions=("fp16", "fp32")))


@pytest.fixture(scope="session")
def digits_bundle(shared):
    """The shipped checkpoint as a verified bundle of all four artifacts, made in this process. Do not write to it."""
    return shared("digits", export_digits) / "digits"


@pytest.fixture
def digits_copy(digits_bundle, tmp_path):
    """A copy to tamper with."""
    return shutil.copytree(digits_bundle, tmp_path / "digits")


@pytest.fixture(scope="session")
def digits_elsewhere(shared, command):
    """The same export by the command line, in another process, on another day: (bundle, the finished process)."""

    def make(folder):
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(ANOTHER_DAY)
        seed = "7" if os.environ.get("PYTHONHASHSEED") != "7" else "8"
        wanted = ("-t", "coreml", "-t", "onnx", "-p", "fp16", "-p", "fp32", "--attention", "token_l2", "--json")
        done = command(
            *("export", DIGITS / "swiftformer_digits.pth", "-m", "swiftformer_digits", *wanted),
            *("-o", folder / "dist"),
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(folder / "site")},
            cwd=folder,
        )
        streams = {"returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        (folder / "process.json").write_text(json.dumps(streams))

    folder = shared("elsewhere", make)
    process = json.loads((folder / "process.json").read_text())
    return folder / "dist" / "swiftformer_digits", subprocess.CompletedProcess("swiftdeploy export", **process)


@pytest.fixture(scope="session")
def oracle(digits):
    """The digits model as loaded: eager, unfused, fp32."""
    from swiftdeploy import catalog
    from swiftdeploy.checkpoint import build, load

    weights = load(str(digits / "swiftformer_digits.pth"))
    return build(weights, catalog.find("swiftformer_digits"), attention="token_l2").module


@pytest.fixture(scope="session")
def held_out(digits):
    """All held-out digits: pixels (360, 3, 32, 32) float32 from 0 to 255, and their classes."""
    import numpy as np
    from PIL import Image

    files = sorted((digits / "images").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) for file in files])
    return pixels.transpose(0, 3, 1, 2), np.array([int(file.parent.name) for file in files])


@pytest.fixture(scope="session")
def scores(oracle, held_out):
    """The oracle's logits (360, 10) on the held-out digits."""
    import torch

    with torch.no_grad():
        return oracle(torch.from_numpy((held_out[0] / 255 - 0.5) / 0.5)).numpy()


@pytest.fixture
def export_to(tmp_path, digits):
    """export_to(request changes..., **options) exports the digits model, or another, below tmp_path."""
    from swiftdeploy.pipeline.export import export
    from swiftdeploy.pipeline.request import ExportRequest
    from swiftdeploy.spec import ExportOptions

    def run(*, request=None, **options):
        plain = {
            "model": "swiftformer_digits",
            "checkpoint": str(digits / "swiftformer_digits.pth"),
            "attention": "token_l2",
            "destination": tmp_path / "dist" / "bundle",
            **(request or {}),
        }
        if plain.get("untrained") is not None:
            plain["checkpoint"] = None
        return export(ExportRequest(**plain, options=ExportOptions(**options)))

    return run


@pytest.fixture(scope="session")
def refit():
    """refit(bundle, ...) makes what is recorded fit whatever lies there now, as an attacker would."""
    from swiftdeploy import bundle

    def rewrite(folder, **changes):
        manifest = bundle.read_manifest(folder)
        artifacts = tuple(
            dataclasses.replace(
                a, **dict(zip(("bytes", "sha256"), bundle.artifact_digest(folder / a.path), strict=True))
            )
            for a in manifest.artifacts
            if (folder / a.path).exists()
        )
        placement = tuple(record for record in manifest.placement if (folder / record.artifact).exists())
        files = bundle.payload_records(folder)
        there = {"artifacts": artifacts, "placement": placement}
        fitting = {**there, "files": files, "tree_sha256": bundle.tree_digest(files), **changes}
        bundle.attest(folder, dataclasses.replace(manifest, **fitting))
        return folder

    return rewrite


@pytest.fixture(scope="session")
def phone():
    """The phone of phone.py: runs plans, writes sealed results."""
    spec = importlib.util.spec_from_file_location("phone", Path(__file__).parent / "phone.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """The small networks of zoo.py, which is loaded here since tests are no package."""
    spec = importlib.util.spec_from_file_location("zoo", Path(__file__).parent / "zoo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    module.torch.set_num_threads(1)
    return module.Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="session")
def network(zoo):
    """network("tiny" or a factory's name, size, **arguments) -> zoo.Network, built once."""
    return zoo.network


@pytest.fixture(scope="session")
def written(zoo):
    """written("coreml" or "onnx", precision, of=(name, size, *arguments), **options) -> path, written once."""
    return zoo.written


@pytest.fixture(scope="session")
def ct():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
    # Each conversion ends with a full collection; freezing what is loaded by then makes it ten times cheaper.
    gc.freeze()
    return coremltools


@pytest.fixture
def save(ct, tmp_path):
    """save(graph, arrays, ios=15, half=False) -> path of a package whose inputs are named a, b, c, ..."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    def save(graph, arrays, *, ios=15, half=False, optimise=False, name="program"):
        target = getattr(ct.target, f"iOS{ios}")
        specs = []
        for array in arrays:
            dtype = getattr(types, MLPROGRAM_DTYPES[str(array.dtype)])
            specs.append(mb.TensorSpec(array.shape, dtype=dtype))
        names = "abcdefgh"[: len(arrays)]
        scope = {"graph": graph, "mb": mb}
        exec(f"def function({', '.join(names)}): return graph(mb, {', '.join(names)})", scope)
        program = mb.program(input_specs=specs, opset_version=target)(scope["function"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter drops a temporary folder without closing it
            model = ct.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=target,
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                pass_pipeline=ct.PassPipeline.DEFAULT if half or optimise else ct.PassPipeline.EMPTY,
                skip_model_load=True,
            )
        path = tmp_path / f"{name}.mlpackage"
        model.save(str(path))
        return path

    return save


@pytest.fixture
def convert(ct, tmp_path):
    """convert(module, example, inputs=[...], ios=16, **keywords) -> path of the package of a traced module."""
    import torch

    def convert(module, example, *, name="converted", ios=16, half=False, **keywords):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ct.convert(
                torch.jit.trace(module.eval(), example),
                minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                skip_model_load=True,
                **keywords,
            )
        path = tmp_path / f"{name}.mlpackage"
        model.save(str(path))
        return path

    return convert


@pytest.fixture(scope="session")
def tradeoff():
    """A search's report made by hand: nine packages, the chosen one a mix of 250,000 bytes."""
    from swiftdeploy.compress import front, recipe_of
    from swiftdeploy.searches import Damage, Goal, Point, SearchReport, Sensitivity

    rows = (
        ("pal2", "uniform", 240_000, 300, 14.0, None),
        ("mix-40", "mixed", 250_000, 355, 24.0, {"pal2": 1, "pal4": 1}),
        ("mix-30", "mixed", 290_000, 358, 33.0, {"pal4": 2}),
        ("pal4", "uniform", 332_000, 359, 35.0, None),
        ("pal4g16", "uniform", 336_000, 359, 36.0, None),
        ("int4", "uniform", 348_000, 358, 43.0, None),
        ("int8", "uniform", 495_000, 360, 65.0, None),
        ("pal8", "uniform", 503_000, 360, 66.0, None),
        ("fp16", "base", 803_000, 360, 80.0, None),
    )
    points = tuple(
        Point(
            name=name,
            kind=kind,
            bytes=size,
            sha256="00",
            right=right,
            percent=right / 3.6,
            low=right / 3.6 - 2,
            high=min(100.0, right / 3.6 + 1),
            drift_db=drift,
            predicted_bytes=size + 10 if schemes else None,
            schemes=schemes,
        )
        for name, kind, size, right, drift, schemes in rows
    )
    damages = tuple(
        Damage(scheme=scheme, bytes=size, psnr_db=db)
        for scheme, size, db in (("int8", 512, None), ("pal4", 256, 51.25), ("pal4g16", 300, 52.5), ("pal2", 128, 31.0))
    )
    weights = ("network_4_1_local_representation_pwconv1_weight", "head_weight")
    return SearchReport(
        schema=1,
        model="tiny",
        checkpoint_sha256="00",
        dataset_sha256="11",
        images=360,
        sensitivity_images=64,
        measure="top1",
        oracle_right=360,
        goal=Goal(target_bytes=260_000),
        min_ios=18,
        candidates=("int8", "pal4", "pal4g16", "pal2"),
        points=points,
        front=tuple(points[index].name for index in front([(p.bytes, p.right) for p in points])),
        chosen="mix-40",
        recipe=recipe_of("mixed", {weights[0]: "pal2", weights[1]: "pal4"}),
        sensitivities=tuple(Sensitivity(weight=w, shape=(32, 16), bytes=1024, damages=damages) for w in weights),
        kept={"stem_weight": "it has 216 values, no more than 2048"},
    )
