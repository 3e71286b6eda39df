"""Ten XS exports as one `swiftdeploy run` against ten `swiftdeploy export` processes one after another; cold and warm.

    python benchmarks/matrix_time.py [--jobs 10] [--workers 2] [--target onnx --precision fp32]

Each job is SwiftFormer XS with untrained weights of a seed of its own, so that no two bundles are equal, as one
artifact: ONNX fp32, unless --target and --precision say otherwise. Both sides verify what they write and end with the
same bytes, which is checked. Run it on a quiet machine: it takes some minutes a round. Prints one JSON document:
seconds of each side, their ratio, the warm run's share of the cold one, and the peak memory of each job's process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL, ATTENTION = "swiftformer_xs", "token_l2"
GOALS = {"run_over_single": 0.6, "warm_over_cold": 0.1}
COMMAND = str(Path(sys.executable).with_name("swiftdeploy"))


class Matrix:
    """A folder with a swiftdeploy.toml of so many models, and both ways to make them."""

    def __init__(self, folder: Path, jobs: int, workers: int, target: str, precision: str) -> None:
        self.folder, self.workers = folder, workers
        self.names = {f"xs_{seed}": seed for seed in range(jobs)}
        self.artifact = ("--target", target, "--precision", precision)
        lines = [f'[defaults]\ntargets = ["{target}"]\nprecisions = ["{precision}"]\nattention = "{ATTENTION}"']
        lines += [f'[models.{name}]\nmodel = "{MODEL}"\nuntrained = {seed}' for name, seed in self.names.items()]
        (folder / "swiftdeploy.toml").write_text("\n".join(lines) + "\n")

    def single(self) -> float:
        """Seconds of one process a model, one after another."""
        shutil.rmtree(self.folder / "single", ignore_errors=True)
        start = time.perf_counter()
        for name, seed in self.names.items():
            self._call(
                *("export", "--untrained", str(seed), "--model", MODEL, "--attention", ATTENTION, *self.artifact),
                *("--name", name, "--output", "single", "--quiet"),
            )
        return time.perf_counter() - start

    def cold(self) -> tuple[float, dict[str, Any]]:
        """Seconds of a run that finds nothing in its cache, and its report."""
        for name in ("cache", "dist"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.warm()

    def warm(self) -> tuple[float, dict[str, Any]]:
        """Seconds of a run that finds everything there, and its report."""
        start = time.perf_counter()
        self._call("run", "--jobs", str(self.workers), "--cache", "cache", "--quiet")
        seconds = time.perf_counter() - start
        report: dict[str, Any] = json.loads((self.folder / "dist" / "run.json").read_text())
        return seconds, report

    def differing(self) -> list[str]:
        """The bundles that the two ways made differently."""
        return [n for n in self.names if _digest(self.folder / "dist" / n) != _digest(self.folder / "single" / n)]

    def _call(self, *arguments: str) -> None:
        done = subprocess.run([COMMAND, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"swiftdeploy {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def measure(matrix: Matrix, rounds: int) -> dict[str, Any]:
    """Both sides `rounds` times, in turn; a round's figures belong together."""
    found = []
    for _ in range(rounds):
        single = matrix.single()
        cold, made = matrix.cold()
        warm, cached = matrix.warm()
        if matrix.differing():
            raise SystemExit(f"run and export made different bytes of {', '.join(matrix.differing())}")
        states = {job["cache"]["state"] for job in made["jobs"]}, {job["cache"]["state"] for job in cached["jobs"]}
        if states != ({"miss"}, {"hit"}):
            raise SystemExit(f"a cold run must miss and a warm one hit: {states}")
        peaks = {job["name"]: job["peak_memory_bytes"] for job in made["jobs"]}
        found.append({"single": single, "cold": cold, "warm": warm, "peaks": peaks})
    middle = {side: statistics.median(one[side] for one in found) for side in ("single", "cold", "warm")}
    return {
        "rounds": rounds,
        "seconds": {side: round(value, 2) for side, value in middle.items()},
        "run_over_single": round(statistics.median(one["cold"] / one["single"] for one in found), 4),
        "warm_over_cold": round(statistics.median(one["warm"] / one["cold"] for one in found), 4),
        "peak_memory_bytes": {name: max(one["peaks"][name] for one in found) for name in matrix.names},
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--target", default="onnx", choices=("coreml", "onnx"))
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matrix-time-") as folder:
        matrix = Matrix(Path(folder), given.jobs, given.workers, given.target, given.precision)
        found = measure(matrix, given.rounds)
    document = {
        "what": f"{given.jobs} exports of {MODEL}, {given.target} {given.precision}, verified: one run against single "
        "processes, wall time",
        "workers": given.workers,
        "cores": os.cpu_count(),
        **found,
        "goal": GOALS,
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
