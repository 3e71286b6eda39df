"""Kills `swiftdeploy run` with its whole process group at random moments, and looks at what is left each time.

    python benchmarks/kill_run.py --count 200 --seed 0 [--work tinywork:build --path tests/matrix]

Before each run one of three checkpoints is changed, so that there is something to make. After each kill every bundle in
the output must be whole, every visible entry of the cache sound and the report readable; every tenth time, and at the
end, a run that nobody kills must complete and leave nothing aside. The default work is a real export of the digits
model to ONNX; `--work` names another one. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import SwiftdeployError
from swiftdeploy.matrix.cache import Cache, listed
from swiftdeploy.matrix.workers import BUILD
from swiftdeploy.runs import REPORT_NAME, read_run

MODELS = ("a", "b", "c")
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "swiftformer_digits.pth"
CALM = 10  # every so many kills a run is left alone
DRIVER = """
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [sys.argv[3]] if sys.argv[3] else []
    from swiftdeploy.config import read_config
    from swiftdeploy.matrix.cache import Cache
    from swiftdeploy.matrix.run import RunOptions, run

    folder = Path(sys.argv[1])
    options = RunOptions(workers=2, cache=Cache(folder=folder / "cache"), work=sys.argv[2])
    sys.exit(run(read_config(folder / "swiftdeploy.toml"), options).totals.exit_code)
"""


class Project:
    """A folder with three models, whose checkpoints change."""

    def __init__(self, folder: Path, work: str, path: str) -> None:
        self.folder, self.work, self.path = folder, work, path
        self.generation = 0
        (folder / "driver.py").write_text(DRIVER)
        lines = ['[defaults]\ntargets = ["onnx"]\nprecisions = ["fp32"]\nattention = "token_l2"']
        lines += [f'[models.{m}]\nmodel = "swiftformer_digits"\ncheckpoint = "{m}.pth"' for m in MODELS]
        (folder / "swiftdeploy.toml").write_text("\n".join(lines) + "\n")
        for model in MODELS:
            self.change(model)

    def change(self, model: str) -> None:
        """Other bytes for one checkpoint: another bias where the work is real, another text where it is not."""
        self.generation += 1
        path = self.folder / f"{model}.pth"
        if self.work != BUILD:
            path.write_text(f"generation {self.generation}")
            return
        import torch

        state = torch.load(DIGITS, weights_only=True)
        state["model"]["head.bias"][0] += self.generation / 1024
        torch.save(state, path)

    def start(self) -> subprocess.Popen[bytes]:
        """A run in a process group of its own."""
        line = [sys.executable, "driver.py", str(self.folder), self.work, self.path]
        log = (self.folder / "log.txt").open("ab")
        return subprocess.Popen(line, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def problems(self) -> list[str]:
        """What is half-written where a reader would look."""
        found = []
        for model in MODELS:
            if (self.folder / "dist" / model).exists():
                found += _refused(lambda m=model: read_bundle(self.folder / "dist" / m))
        if (self.folder / "dist" / REPORT_NAME).exists():
            found += _refused(lambda: read_run(self.folder / "dist"))
        entries = listed(Cache(folder=self.folder / "cache"), verify=True)
        return [*found, *(f"cache: {entry.problem}" for entry in entries if entry.problem)]

    def leftovers(self) -> list[str]:
        """What should have been swept: staging folders and parts of files."""
        places = [self.folder / "dist", self.folder / "cache" / "v1" / "entries"]
        return sorted(p.name for place in places if place.is_dir() for p in place.iterdir() if p.name.startswith("."))


def _refused(read: Any) -> list[str]:
    try:
        read()
    except SwiftdeployError as error:
        return [error.fact]
    return []


def kill(process: subprocess.Popen[bytes], delay: float) -> bool:
    """Whether the run was still alive after `delay` seconds, when its whole group was killed."""
    end = time.monotonic() + delay
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.002)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def writing(project: Project, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the run writes something aside; False where it ended before that was seen."""
    old = set(project.leftovers())
    while process.poll() is None:
        if set(project.leftovers()) - old:
            return True
        time.sleep(0.001)
    return False


def calm(project: Project, limit: float) -> tuple[float, list[str]]:
    """The seconds of a run that nobody kills, and what is wrong after it."""
    start = time.monotonic()
    process = project.start()
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        kill(process, 0)
        return limit, ["a run did not end: a stale lock?"]
    wrong = [] if code == 0 else [f"a run ended with {code}"]
    if any(not (project.folder / "dist" / model).exists() for model in MODELS):
        wrong.append("a bundle is missing")
    return time.monotonic() - start, [*wrong, *project.problems(), *(f"left: {name}" for name in project.leftovers())]


def measure(project: Project, count: int, chance: random.Random, limit: float) -> dict[str, Any]:
    """`count` kills and what they found."""
    seconds, finds = calm(project, limit)
    killed, finished, aside, calms = 0, 0, 0, 1
    while killed < count:
        for model in chance.sample(MODELS, 2):
            project.change(model)
        process = project.start()
        # Half of them at any moment, loading libraries included; half soon after something was begun.
        soon = chance.random() < 0.5 and writing(project, process)
        alive = kill(process, chance.uniform(0, seconds / 50 if soon else seconds))
        killed, finished = killed + alive, finished + (not alive)
        aside += bool(project.leftovers())
        finds += project.problems()
        if alive and killed % CALM == 0 and killed < count:
            _, wrong = calm(project, limit)
            calms, finds = calms + 1, finds + wrong
    _, wrong = calm(project, limit)
    return {
        "kills": killed,
        "finished_before_the_kill": finished,
        "kills_that_left_something_aside": aside,
        "calm_runs": calms + 1,
        "seconds_of_a_calm_run": round(seconds, 2),
        "finds": finds + wrong,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", default=BUILD)
    parser.add_argument("--path", default="")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a run counts as hanging")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill-run-"))
    try:
        path = str(Path(given.path).resolve()) if given.path else ""
        found = measure(Project(folder, given.work, path), given.count, random.Random(given.seed), given.limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"work": given.work, "seed": given.seed, **found}, indent=2))
    sys.exit(1 if found["finds"] else 0)


if __name__ == "__main__":
    main()
