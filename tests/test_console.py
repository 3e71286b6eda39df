import errno
import logging
import os
import re
import subprocess
import sys
import warnings

import pytest
from rich.console import Console

from swiftdeploy import console


@pytest.fixture(autouse=True)
def as_before():
    yield
    console.configure(verbosity=0, color=True)


def noise():
    sys.stdout.write("a bar\n")
    sys.stderr.write("a remark\n")
    warnings.warn("a warning", stacklevel=1)
    logging.getLogger("lib").warning("a log line")


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_libraries_are_silent(capfd, verbosity):
    console.configure(verbosity=verbosity, color=False)
    with console.quiet():
        noise()
    found = capfd.readouterr()
    assert (found.out, found.err) == ("", "")


def test_with_v_they_speak_on_stderr_alone(capsys):
    console.configure(verbosity=1, color=False)
    with console.quiet(), pytest.warns(UserWarning, match="a warning"):
        noise()
    found = capsys.readouterr()
    assert found.out == ""
    assert "a bar" in found.err
    assert "a remark" in found.err


def test_an_error_passes_through_and_leaves_logging_as_it_was():
    before = logging.root.manager.disable
    with pytest.raises(ValueError, match="x"), console.quiet():
        raise ValueError("x")
    assert logging.root.manager.disable == before


def test_quiet_within_quiet(capfd):
    with console.quiet():
        with console.quiet():
            noise()
        noise()
    assert capfd.readouterr() == ("", "")
    sys.stdout.write("heard\n")
    assert capfd.readouterr().out == "heard\n"


@pytest.mark.parametrize(("verbosity", "expected"), [(-1, ""), (0, "· fusing\n"), (1, "· fusing\n")])
def test_steps_go_to_stderr(capsys, verbosity, expected):
    console.configure(verbosity=verbosity, color=False)
    with console.step("fusing"):
        pass
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", expected)
    assert console.verbosity() == verbosity


def test_notes(capsys):
    console.configure(verbosity=0, color=False)
    console.note("one line")
    assert capsys.readouterr() == ("", "one line\n")
    console.configure(verbosity=-1, color=False)
    console.note("one line")
    assert capsys.readouterr() == ("", "")


def test_results_go_to_stdout(capsys):
    console.configure(verbosity=0, color=False)
    console.stdout().print("a result")
    assert capsys.readouterr() == ("a result\n", "")


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console.configure(verbosity=0, color=True)
    assert console.stderr().no_color
    monkeypatch.delenv("NO_COLOR")
    console.configure(verbosity=0, color=False)
    assert console.stderr().no_color


def test_progress_in_a_file_is_a_line_each_tenth(capsys):
    console.configure(verbosity=0, color=False)
    with console.progress("evaluating", total=40, done=8) as advance:
        for _ in range(32):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"· evaluating: {n} of 40" for n in range(12, 41, 4)]
    assert all(line.endswith(" s left") for line in lines[:-1])
    assert "left" not in lines[-1]


def test_progress_is_silent_with_q(capsys):
    console.configure(verbosity=-1, color=False)
    with console.progress("evaluating", total=2) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


ODD, SHOWN = "a[/b] [bold] [red]é[/red]\\[x] :smile: \x1b[2J", "a[/b] [bold] [red]é[/red]\\[x] :smile: \\x1b[2J"


def test_text_from_outside_is_printed_as_it_is(capsys):
    """A folder may be called like a style of rich's, or hold what steers a terminal."""
    console.configure(verbosity=0, color=False)
    console.stdout().print(console.plain(ODD), soft_wrap=True)
    console.note(ODD)
    console.note(f"two\n{ODD}", mark="note")
    with console.step(ODD):
        pass
    with console.progress(ODD, total=1) as advance:
        advance(1)
    found = capsys.readouterr()
    assert found.out == f"{SHOWN}\n"
    assert found.err.splitlines() == [
        SHOWN,
        "· two",
        SHOWN,
        f"· {SHOWN}",
        f"· {SHOWN}: 1 of 1",
    ]


def test_text_from_outside_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(console, "stderr", lambda: Console(file=sys.stderr, force_terminal=True, width=200))
    console.configure(verbosity=0, color=False)
    with console.step(ODD):
        pass
    with console.progress(ODD, total=1) as advance:
        advance(1)
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert f"✓ {SHOWN}" in seen
    assert seen.count(SHOWN) >= 2


def alone(code, **streams):
    """What a process does that guards its streams and runs `code`."""
    head = "import os, subprocess, sys; from swiftdeploy import console; console.configure(verbosity=1, color=False)\n"
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run([sys.executable, "-c", head + code], text=True, check=False, timeout=60, **settings)


def test_a_worker_too_writes_to_a_reader_that_has_gone():
    """Long after the first refusal, and through the libraries' road to stderr as well."""
    code = """
for _ in range(3):
    with console.step("at work"), console.quiet():
        print("a library", flush=True)
    os.write(2, b"a C library")
subprocess.run(["sh", "-c", "echo a child >&2"], check=True)
print("done")
"""
    reading, writing = os.pipe()
    os.close(reading)
    done = alone(code, stderr=writing)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_no_file_gets_the_number_of_a_closed_stream():
    """Else what a C library prints would go into that file."""
    code = "number = os.open(os.devnull, os.O_RDONLY); print('lost'); sys.exit(number)"
    line = 'exec "$@" <&- >&- 2>&-'
    head = "import os, sys; from swiftdeploy import console; console.guard()\n"
    done = subprocess.run(["sh", "-c", line, "sh", sys.executable, "-c", head + code], check=False, timeout=60)
    assert done.returncode > 2


def test_what_came_before_a_refusal_was_written(tmp_path):
    """And nothing after it: a result with a hole in it would be worse than a short one."""
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))
print("12345678", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("more", flush=True)
sys.stderr.write(console.refusal().strerror)
"""
    with (tmp_path / "result").open("w") as result:
        done = alone(code, stdout=result)
    assert (tmp_path / "result").read_text() == "1234"
    assert done.stderr == os.strerror(errno.EFBIG)


def test_streams_that_are_not_the_process_own_stay(capsys):
    before = sys.stdout, sys.stderr
    console.guard()
    assert (sys.stdout, sys.stderr) == before
    assert console.refusal() is None
