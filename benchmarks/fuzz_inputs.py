"""Damages configurations, manifests, reports, cache entries and checkpoints, and counts what the tool makes of them.

    python benchmarks/fuzz_inputs.py --count 5000 --seed 0 [--kind config]

Each input is a sound one with bytes flipped, cut or put in, or with a value replaced; it is read by the command that
would read it, in this process. A find is a traceback, an exit code that the kind of input does not allow, or an input
that takes longer than --limit seconds. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from swiftdeploy.cli.app import run as command_line
from swiftdeploy.matrix.workers import BUILD

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "swiftformer_digits.pth"
CONFIG = """\
#:schema ./swiftdeploy.schema.json
output = "dist"
baseline = "released/run.json"

[defaults]
targets = ["coreml", "onnx"] # both
precisions = ["fp16", "fp32"]
attention = "token_l2"

[models.digits]
model = "swiftformer_digits"
checkpoint = "digits.pth"
size = [32, 32]
labels = '''labels.txt'''

[models."other one"]
model = "swiftformer_xs"
untrained = 7
dynamic_batch = true
budgets = { size = { max = "4 MB", max_ratio = 1.02 }, parity = { min = 45.0 } }

[budgets.top1]
images = "images"
min = 0.9

[reports]
formats = ["json"]

[cache]
max_size = "2 GB"
"""
TEXTS = (
    "",
    "\0",
    "..",
    "/etc/passwd",
    "x" * 3000,
    "é",
    "\ud800",
    "~nobody",
    "hf-hub:",
    "timm:",
    "a:b",
    "[",
    '"""',
    "\n",
)
VALUES = (None, True, -1, 0, 1, 2**63, 10**400, 1.5, 1e308, [], {}, [[]], {"": {}}, *TEXTS)
ALLOWED = {
    "config": {0, 2, 3, 4, 7},  # a sound configuration may name what is not there
    "manifest": {0, 7},
    "report": {0, 3, 4, 7},
    "entry": {0, 7},
    "checkpoint": {0, 4},
}


class Hang(BaseException):
    """An input took too long; no handler for errors may swallow it."""


def damaged(data: bytes, dice: random.Random) -> bytes:
    """The bytes with one to four places changed."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        place = dice.randrange(len(changed) + 1)
        length = dice.choice((1, 1, 2, 8, 40))
        match dice.randrange(6):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << dice.randrange(8)
            case 1:
                changed[place : place + length] = dice.randbytes(length)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = dice.choice((b"[", b"]", b'"', b"'", b"=", b"\n", b"{", b"}", b"#", b".", b"\\"))
            case 4:
                changed[place:place] = changed[place : place + 60]
            case _ if dice.random() < 0.2:
                del changed[place:]
            case _:
                changed[place:place] = dice.choice(TEXTS).encode("utf-8", "surrogatepass")
    return bytes(changed)


def replaced(plain: Any, dice: random.Random) -> Any:
    """A JSON value with one value somewhere in it replaced, removed or renamed."""
    if not isinstance(plain, dict | list) or not plain or dice.random() < 0.05:
        return dice.choice(VALUES)
    if isinstance(plain, list):
        at = dice.randrange(len(plain))
        return [*plain[:at], replaced(plain[at], dice), *plain[at + 1 :]]
    key = dice.choice(sorted(plain))
    rest = {k: v for k, v in plain.items() if k != key}
    match dice.randrange(8):
        case 0:
            return rest
        case 1:
            return {**rest, key + "_": plain[key]}
        case _:
            return {**rest, key: replaced(plain[key], dice)}


def mutated_json(text: str, dice: random.Random) -> bytes:
    """A JSON document with a value replaced and mostly a seal that fits, or with bytes damaged."""
    if dice.random() < 0.3:
        return damaged(text.encode(), dice)
    plain = json.loads(text)
    for _ in range(dice.choice((1, 1, 3))):
        plain = replaced(plain, dice)
    if isinstance(plain, dict) and "seal" in plain and dice.random() < 0.7:
        from swiftdeploy.seal import sealed

        with contextlib.suppress(ValueError, UnicodeEncodeError):
            return sealed(plain).encode()
    return json.dumps(plain).encode("utf-8", "surrogatepass")


class Inputs:
    """Sound inputs in a folder, and for each kind how to damage it and which command reads it."""

    def __init__(self, folder: Path, work: str) -> None:
        from swiftdeploy.config import read_config
        from swiftdeploy.matrix.cache import Cache
        from swiftdeploy.matrix.run import RunOptions, run

        self.folder = folder
        shutil.copy(DIGITS, folder / "digits.pth")
        (folder / "swiftdeploy.toml").write_text(
            '[models.digits]\nmodel = "swiftformer_digits"\ncheckpoint = "digits.pth"\nattention = "token_l2"\n'
            'targets = ["onnx"]\nprecisions = ["fp32"]\n'
        )
        self.cache = folder / "cache"
        run(read_config(folder / "swiftdeploy.toml"), RunOptions(cache=Cache(folder=self.cache), work=work))
        self.manifest = folder / "dist" / "digits" / "manifest.json"
        self.report = folder / "released.json"
        shutil.copy(folder / "dist" / "run.json", self.report)
        (self.entry,) = self.cache.rglob("entry.json")
        self.kept = {p: p.read_bytes() for p in (self.manifest, self.report, self.entry)}
        self.weights = DIGITS.read_bytes()

    def config(self, dice: random.Random) -> list[str]:
        """A damaged swiftdeploy.toml, planned."""
        (self.folder / "swiftdeploy.toml").write_bytes(damaged(CONFIG.encode(), dice))
        return ["run", "--dry-run", "--no-cache"]

    def damaged_manifest(self, dice: random.Random) -> list[str]:
        """A damaged manifest, inspected."""
        self.manifest.write_bytes(mutated_json(self.kept[self.manifest].decode(), dice))
        return ["inspect", str(self.manifest.parent)]

    def damaged_report(self, dice: random.Random) -> list[str]:
        """A damaged report as the baseline of a run that needs no work."""
        self.report.write_bytes(mutated_json(self.kept[self.report].decode(), dice))
        text = (
            'baseline = "released.json"\n[models.digits]\nmodel = "swiftformer_digits"\ncheckpoint = "digits.pth"\n'
            'attention = "token_l2"\ntargets = ["onnx"]\nprecisions = ["fp32"]\nbudgets.size = { max_ratio = 99.0 }\n'
        )
        (self.folder / "swiftdeploy.toml").write_text(text)
        return ["run", "--cache", str(self.cache)]

    def damaged_entry(self, dice: random.Random) -> list[str]:
        """A damaged entry of the cache, verified."""
        self.entry.write_bytes(mutated_json(self.kept[self.entry].decode(), dice))
        return ["cache", "verify", "--cache", str(self.cache)]

    def checkpoint(self, dice: random.Random) -> list[str]:
        """A damaged checkpoint, inspected."""
        (self.folder / "damaged.pth").write_bytes(damaged(self.weights, dice))
        return ["inspect", str(self.folder / "damaged.pth")]

    def restore(self) -> None:
        """Put back what was damaged."""
        for path, data in self.kept.items():
            path.write_bytes(data)

    def kinds(self) -> dict[str, Callable[[random.Random], list[str]]]:
        """The kinds by name."""
        return {
            "config": self.config,
            "manifest": self.damaged_manifest,
            "report": self.damaged_report,
            "entry": self.damaged_entry,
            "checkpoint": self.checkpoint,
        }


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Hang when the block takes longer."""

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(kind: str, line: list[str], limit: int) -> tuple[str, str]:
    """(exit code as text, the find or nothing) of one command."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(limit), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command_line([*line, "--json", "-q"])
    except Hang:
        return "hang", f"more than {limit} s"
    except BaseException:  # noqa: BLE001  that is what is looked for
        return "traceback", traceback.format_exc(limit=-4)
    try:
        json.loads(out.getvalue())
    except ValueError:
        return str(code), f"stdout is no document: {out.getvalue()[:200]!r}"
    return str(code), "" if code in ALLOWED[kind] else f"exit code {code}: {out.getvalue()[:400]}"


def fuzz(inputs: Inputs, kinds: list[str], count: int, seed: int, limit: int) -> dict[str, Any]:
    """`count` damaged inputs, the kinds in turn."""
    codes: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in kinds}
    finds = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        line = inputs.kinds()[kind](random.Random(f"{seed} {number}"))
        code, find = outcome(kind, line, limit)
        codes[kind][code] += 1
        if find:
            finds.append({"kind": kind, "number": number, "find": find})
        inputs.restore()
    return {"count": count, "codes": {kind: dict(sorted(c.items())) for kind, c in codes.items()}, "finds": finds}


def main() -> None:
    """Parse, fuzz, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(ALLOWED))
    parser.add_argument("--limit", type=int, default=60, help="seconds for one input")
    parser.add_argument("--work", default=BUILD, help="what makes the sound bundle: module:function")
    parser.add_argument("--path", default="", help="a folder to find it in")
    given = parser.parse_args()
    sys.path[:0] = [str(Path(given.path).resolve())] if given.path else []
    folder = Path(tempfile.mkdtemp(prefix="fuzz-inputs-"))
    try:
        with contextlib.chdir(folder):
            found = fuzz(Inputs(folder, given.work), given.kind or list(ALLOWED), given.count, given.seed, given.limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"seed": given.seed, **found}, indent=2, ensure_ascii=True))
    sys.exit(1 if found["finds"] else 0)


if __name__ == "__main__":  # workers import this file as well
    main()
