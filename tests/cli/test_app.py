"""What all commands share: help, version, usage errors, bugs, and what they import."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import swiftdeploy
from swiftdeploy import cli as package
from swiftdeploy.cli import app as module
from swiftdeploy.cli import output
from swiftdeploy.errors import EXIT_CODES, ArtifactError, SwiftdeployError

HEAVY = ("torch", "coremltools", "onnx", "onnxruntime", "numpy")
BUG = """
import swiftdeploy.catalog

def wrong():
    raise ZeroDivisionError("oops")

swiftdeploy.catalog.entries = wrong
"""
SHARED = ("--json", "--quiet", "--verbose", "--no-color")


def commands(group=None, path=()):
    """(words, command) of every command, also of groups."""
    group = group or typer.main.get_command(module.app)
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


COMMANDS = sorted((path for path, _ in commands()), key=str)
LEAVES = sorted((path for path, command in commands() if not hasattr(command, "commands")), key=str)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(cli, path):
    for flag in ("-h", "--help"):
        answer = cli(*path, flag)
        assert (answer.code, answer.err) == (0, "")
        assert re.search(rf"Example: (\S+ \| )?swiftdeploy {path[0]}\b", answer.out), answer.out


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_the_terminal(cli, monkeypatch, path, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, cli(*path, "--help").out.splitlines())) <= columns


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_the_shared_options(cli, path):
    text = cli(*path, "--help").out
    missing = [option for option in SHARED if option not in text]
    assert missing == []


def test_every_option_has_a_help_text():
    for path, command in commands():
        for parameter in command.params:
            if getattr(parameter, "opts", [""])[0].startswith("-"):
                assert parameter.help, (path, parameter.name)


def test_version(cli):
    answer = cli("--version")
    assert (answer.code, answer.out) == (0, f"swiftdeploy {swiftdeploy.__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_help_lists_every_command(cli, arguments):
    answer = cli(*arguments)
    assert (answer.code, answer.err) == (0, "")
    for name in ("export", "verify", "inspect", "models", "doctor", "schema"):
        assert re.search(rf"^  {name} +\w", answer.out, re.MULTILINE), name


@pytest.mark.parametrize(
    ("arguments", "fact", "hint"),
    [
        (("exprot",), "Did you mean 'export'", "see: swiftdeploy --help"),
        (("export", "x.pth", "--bogus"), "No such option: --bogus", "see: swiftdeploy export --help"),
        (
            ("export", "x.pth", "--batch", "many"),
            "'--batch': Input should be a valid integer",
            "swiftdeploy export --help",
        ),
        (("inspect",), "Missing argument", "swiftdeploy inspect --help"),
        (("schema", "bundle"), "no schema is named 'bundle'", "choose from manifest"),
    ],
)
def test_usage_errors(cli, arguments, fact, hint):
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    error, advice = answer.err.splitlines()
    assert error.startswith("error: ")
    assert fact in error
    assert advice.startswith("hint:  ")
    assert hint in advice
    document = cli(*arguments, "--json")
    assert (document.code, document.err) == (2, "")
    assert document.document["error"]["kind"] == "UsageError"
    assert fact in document.document["error"]["fact"]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("verify", ""), "an empty argument follows verify"),
        (("cache", "list", "--cache", ""), "an empty argument follows --cache"),
        (("evaluate", "bundle", "--images="), "--images= has no value"),
        (("",), "an empty argument follows swiftdeploy"),
    ],
)
def test_what_a_variable_that_is_not_set_leaves_behind(cli, arguments, fact):
    """As a path, nothing is the working folder: what was never named would be read or written."""
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {fact}\n")
    assert cli(*arguments, "--json").document["error"]["fact"] == fact


def test_every_schema_that_ships_is_printed(cli):
    folder = Path(swiftdeploy.__file__).parent
    shipped = {path.name.split(".")[0]: path.read_text() for path in folder.rglob("*.schema.json")}
    assert len(shipped) == 6
    assert {name: json.loads(cli("schema", name).out) for name in shipped} == {
        name: json.loads(text) for name, text in shipped.items()
    }


def subclasses(kind):
    return {kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))}


def test_every_error_has_a_documented_code():
    for kind in subclasses(SwiftdeployError):
        assert kind.exit_code in EXIT_CODES
        assert kind is SwiftdeployError or kind.exit_code != 1


def test_a_bug_shows_its_traceback(cli, monkeypatch):
    def wrong():
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("swiftdeploy.catalog.entries", wrong)
    with pytest.raises(ZeroDivisionError):
        cli("models")


def test_a_bug_is_one_document_too(command, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BUG)
    done = command("models", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"], error["meaning"]) == ("Bug", 1, "bug")
    assert "ZeroDivisionError: oops" in error["fact"]


@pytest.mark.parametrize(
    "code",
    [
        "import swiftdeploy",
        "from swiftdeploy.cli.app import run; run(['--help'])",
        "from swiftdeploy.cli.app import run; run(['export', '--help'])",
        "from swiftdeploy.cli.app import run; run(['models'])",
        "from swiftdeploy.cli.app import run; run(['doctor'])",
        "from swiftdeploy.cli.app import run; run(['export', 'x', '--bogus'])",
    ],
)
def test_nothing_heavy_is_imported(code):
    report = f"; import sys; print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_that_check_can_fail():
    done = subprocess.run(
        [sys.executable, "-c", "import swiftdeploy.bundle, sys; print('numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


def test_a_key_pressed_while_it_starts(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", interrupt)
    with pytest.raises(SystemExit) as caught:
        package.main()
    assert caught.value.code == 130


def test_an_error_cannot_steer_the_terminal(capsys):
    error = ArtifactError("bad \x1b[2Jname \x07 [red]x[/red] \u202e", hint="é stays \x9b")
    output.fail(error, json=False)
    text = capsys.readouterr().err
    assert not {"\x07", "\x9b", "\u202e"} & set(text)
    assert "\\x1b[2Jname" in text
    assert "[red]x[/red]" in text
    assert "é stays" in text


def test_names_that_are_no_text(command, digits_bundle, tmp_path):
    """A foreign file whose name is no UTF-8 is named all the same, on any terminal."""
    copy = shutil.copytree(digits_bundle, tmp_path / "copy")
    try:
        (copy / os.fsdecode(b"\xff\x1b.bin")).touch()
    except OSError:
        pytest.skip("this file system takes text names only")
    for extra in ((), ("--json",)):
        done = command("inspect", copy, *extra, env={"PYTHONIOENCODING": "ascii"})
        assert done.returncode == 7, done.stderr
        assert "unexpected" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["--no-color", "NO_COLOR"])
def test_no_colour(cli, monkeypatch, tmp_path, how):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in cli("inspect", tmp_path / "nothing").err
    if how == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
        answer = cli("inspect", tmp_path / "nothing")
    else:
        answer = cli("inspect", tmp_path / "nothing", "--no-color")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", answer.err)
    assert answer.code == 4
