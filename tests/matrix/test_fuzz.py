"""Damaged input of every kind: the right exit code, one document, no traceback, no hang.

benchmarks/fuzz_inputs.py does as many as one likes; what is here are its first.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPT = HERE.parent.parent / "benchmarks" / "fuzz_inputs.py"


def test_damaged_input():
    wanted = ("--count", "100", "--work", "tinywork:build", "--path", str(HERE))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *wanted], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["finds"] == []
    for kind, codes in found["codes"].items():
        assert set(codes) - {"0"}, kind  # some of each kind were refused
