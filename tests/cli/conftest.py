"""The command line in this process: fast, and with both streams apart."""

import json
from dataclasses import dataclass

import pytest

from swiftdeploy import console
from swiftdeploy.cli.app import run


@dataclass(frozen=True, kw_only=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self):
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture
def cli(capsys, monkeypatch):
    """cli(*arguments) runs the command line and answers with exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield lambda *arguments: ask(capsys, arguments)
    console.configure(verbosity=0, color=True)
    with console.interruptible():  # a test's Ctrl-C would end the next one that runs without the command line
        pass


def ask(capsys, arguments):
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    return Answer(code=code, out=streams.out, err=streams.err)


@pytest.fixture
def quick(digits):
    """The shortest real export: the digits in ONNX, fp32, not verified."""
    wanted = ("-m", "swiftformer_digits", "--attention", "token_l2", "-t", "onnx", "-p", "fp32", "--no-verify")
    return ("export", digits / "swiftformer_digits.pth", *wanted)
