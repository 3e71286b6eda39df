"""The same bytes in any process, on any day: what is written depends on what it is made of alone."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import datetime, hashlib, importlib.util, sys, tempfile
from pathlib import Path

day = datetime.date(*map(int, sys.argv[1].split("-")))
class Date(datetime.date):
    @classmethod
    def today(cls):
        return day
datetime.date = Date

spec = importlib.util.spec_from_file_location("zoo", Path(sys.argv[2]) / "tests" / "zoo.py")
zoo = importlib.util.module_from_spec(spec)
sys.modules["zoo"] = zoo
spec.loader.exec_module(zoo)
zoo.torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    files = zoo.Zoo(Path(folder))
    for target, precision in (("coreml", "fp16"), ("coreml", "fp32"), ("onnx", "fp16"), ("onnx", "fp32")):
        path = files.written(target, precision)
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            print(target, precision, member.name, hashlib.sha256(member.read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def elsewhere():
    """Digests as another process writes them, with another hash seed, on another day."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, "1999-12-31", str(ROOT)],
        env={**os.environ, "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in found.stdout.splitlines() if line.startswith(("coreml", "onnx"))]


@pytest.mark.parametrize("target", ["coreml", "onnx"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_another_process_on_another_day_writes_the_same_bytes(written, elsewhere, target, precision):
    path = written(target, precision)
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    here = [hashlib.sha256(member.read_bytes()).hexdigest() for member in members]
    assert [row[3] for row in elsewhere if row[:2] == [target, precision]] == here
    assert len(here) == (3 if target == "coreml" else 1)


def test_the_faked_day_is_one_that_coremltools_would_have_written(tmp_path):
    """The check can fail: without the canonical form, the date is in the package."""
    code = """
import datetime, sys, warnings
warnings.simplefilter("ignore")
class Date(datetime.date):
    @classmethod
    def today(cls):
        return datetime.date(1999, 12, 31)
datetime.date = Date
import coremltools as ct, torch
traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 2))
model = ct.convert(traced, inputs=[ct.TensorType(shape=(1, 2))], skip_model_load=True)
model.save(sys.argv[1])
"""
    path = tmp_path / "m.mlpackage"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(path)], capture_output=True, check=True)
    data = next(path.rglob("*.mlmodel")).read_bytes()
    assert b"1999-12-31" in data
