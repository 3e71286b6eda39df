"""What a person sees on stderr, and the guard that keeps noisy libraries off both streams.

stdout belongs to results alone. coremltools draws progress bars, torch.onnx prints to stdout and several libraries
warn at import; `quiet` sends all of that to the log, which `-v` shows.

Nobody has to listen: a reader that has gone, as `head` goes, or a stream that was closed from the start changes neither
the work nor its exit code. `guard` sees to that below both streams, where every writer comes past.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape
from rich.text import Text

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Mark = Literal["note", "begun", "done", "failed"]
_MARKS = {"note": ("·", "yellow"), "begun": ("·", "dim"), "done": ("✓", "green"), "failed": ("✗", "red")}
_state = {"verbosity": 0, "color": True, "interrupted": False}


def configure(*, verbosity: int, color: bool) -> None:
    """Set how much is shown: -1 quiet, 0 progress, 1 also what libraries say. `color` off also honours NO_COLOR.

    Worker processes begin with this too, so it guards their streams as well.
    """
    guard()
    _state["verbosity"] = verbosity
    _state["color"] = color and "NO_COLOR" not in os.environ


def verbosity() -> int:
    """The level that `configure` set."""
    return int(_state["verbosity"])


def stderr() -> Console:
    """A rich console on the current stderr: it wraps at words on a terminal, and leaves lines whole in a file."""
    return Console(
        stderr=True, no_color=not _state["color"], highlight=False, emoji=False, soft_wrap=not sys.stderr.isatty()
    )


def stdout() -> Console:
    """A rich console on the current stdout, for results only."""
    return Console(no_color=not _state["color"], highlight=False, emoji=False)


class _Outlet(io.FileIO):
    """The file behind stdout or stderr: what it cannot take is dropped, from the first byte on that it cannot take."""

    refusal: OSError | None = None  # why, where it is not that nobody reads any more

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, ConnectionError):  # a pipe's reader has gone, or a socket's
                self.refusal = error
            _to_nowhere(self.fileno())  # also for what a C library or a child process writes
            return memoryview(data).nbytes


def guard() -> None:
    """Make stdin, stdout and stderr safe to use for this process and its children, however they were handed over.

    One that is closed leads nowhere from now on: else it is None, and the next file that is opened gets its number.
    stdout and stderr drop what cannot be written, and what they cannot encode (a file's name need not be text, and a
    terminal need not speak UTF-8) they write escaped. Streams that are not the process's own stay as they are.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            _to_nowhere(number)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w" if number else "r", encoding="utf-8"))  # noqa: SIM115  for good
        elif number and isinstance(stream, io.TextIOWrapper) and _outlet(stream) is None and _is(stream, number):
            setattr(sys, name, _guarded(stream))


def refusal() -> OSError | None:
    """Why stdout did not take all that was written to it; None where it did, or where nobody reads it any more."""
    sys.stdout.flush()
    outlet = _outlet(sys.stdout)
    return outlet.refusal if outlet is not None else None


def _is(stream: io.TextIOWrapper, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):  # it has no file, or is closed
        return False


def _outlet(stream: object) -> _Outlet | None:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, _Outlet) else None


def _guarded(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    with contextlib.suppress(OSError):
        stream.flush()
    outlet = _Outlet(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        outlet if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(outlet),  # raw with `python -u`
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _to_nowhere(number: int) -> None:
    """Let the file descriptor lead to the null device, for child processes too."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened == number:
        os.set_inheritable(number, True)
        return
    os.dup2(opened, number)
    os.close(opened)


@contextlib.contextmanager
def interruptible(*, once: bool = False) -> Iterator[None]:
    """Remember Ctrl-C: converters catch everything here and there, and a swallowed one must still end the run.

    With `once` any further one is ignored: a worker gets its own and its parent's, and has to clear away in peace.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(_number: int, _frame: FrameType | None) -> None:
        _state["interrupted"] = True
        if once:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    _state["interrupted"] = False
    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Show that `what`, plain text, is under way: a spinner on a terminal, one line elsewhere, nothing with -q.

    Raises KeyboardInterrupt where an earlier one was swallowed (see `interruptible`), before and after.
    """
    _stop_if_interrupted()
    with _shown(what):
        yield
    _stop_if_interrupted()


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since `interruptible` began: an extension's import, say, makes another error of it."""
    return bool(_state["interrupted"])


def _stop_if_interrupted() -> None:
    if interrupted():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _shown(what: str) -> Iterator[None]:
    if verbosity() < 0:
        yield
        return
    console = stderr()
    if not console.is_terminal or verbosity() > 0:
        console.print(_marked(what, "begun"))
        yield
        return
    with console.status(Text(printable(what))):
        yield
    console.print(_marked(what, "done"))


def note(what: str, *, mark: Mark | None = None) -> None:
    """Plain text for the person who watches, behind a mark where one is given; not shown with -q."""
    if verbosity() >= 0:
        stderr().print(_marked(what, mark))


def _marked(what: str, mark: Mark | None) -> Text:
    """Text from anywhere, a path above all, as it stands: rich would take [brackets] in it for a style."""
    shown = "\n".join(map(printable, what.split("\n")))
    return Text.assemble(_MARKS[mark], " ", shown) if mark is not None else Text(shown)


def printable(text: str) -> str:
    """The text without control characters: a hostile file's name must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain(text: str) -> str:
    """Text from outside (a file's name, a label) for a line of ours: printable, and without markup."""
    return escape(printable(text))


@contextlib.contextmanager
def progress(what: str, *, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far `what`, plain text, is, and the time left: a bar, off a terminal a line each tenth, nothing with -q.

    `done` of `total` were done before. The block calls what it is given with how many more are done.
    """
    _stop_if_interrupted()
    console = stderr()
    if verbosity() < 0:
        yield lambda _: None
    elif console.is_terminal and verbosity() == 0:
        # Late: only this needs it, and the command line starts faster without.
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(printable(what), total=total, completed=done)
            yield lambda more: bar.advance(task, more)
    else:
        yield _Lines(what, total, done).advance
    _stop_if_interrupted()


class _Lines:
    """Progress as lines in a file or a log: one each tenth of the whole."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.first, self.done = what, total, done, done
        self.start = time.monotonic()

    def advance(self, more: int) -> None:
        before, self.done = self.done, self.done + more
        if 10 * before // self.total == 10 * self.done // self.total:
            return
        each = (time.monotonic() - self.start) / (self.done - self.first)
        left = f", {each * (self.total - self.done):.0f} s left" if self.done < self.total else ""
        stderr().print(_marked(f"{self.what}: {self.done} of {self.total}{left}", "begun"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Run a third-party library: its prints, bars, warnings and log lines are dropped, or with -v go to stderr."""
    if verbosity() > 0:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
