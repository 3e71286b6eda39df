"""Every failure that a user can cause or mend, with its exit code.

    SwiftdeployError
    ├── UsageError          2   the command line contradicts itself
    ├── ConfigError         3   swiftdeploy.toml is wrong
    ├── CheckpointError     4   the weights cannot be read, or do not fit
    ├── ModelError          4   the model cannot be built, or an input does not fit it
    ├── ConversionError     5   capture, fusing or a converter failed
    ├── ParityError         6   numbers do not agree
    ├── BudgetError         6   numbers agree, a stated budget does not hold
    ├── ArtifactError       7   a file is damaged, missing or was changed
    └── DependencyError     8   a library, tool or platform is missing

Exit code 1 is not in the tree: it means a bug, and a bug shows its traceback.
"""

from __future__ import annotations

import contextlib
import copyreg
import errno
from collections.abc import Iterable, Iterator
from typing import Any

_REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ESTALE,
}  # fmt: skip


class SwiftdeployError(Exception):
    """One line of fact (`str(error)`) and one line of hint that says what to do about it."""

    exit_code = 1

    def __init__(self, fact: str, *, hint: str) -> None:
        super().__init__(" ".join(fact.split()))
        self.hint = " ".join(hint.split())
        self.stage = ""  # which stage of an export was stopped, where one was

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross from worker processes whole: by default an exception is rebuilt from its message alone."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    @property
    def fact(self) -> str:
        """The line that says what is wrong."""
        return str(self)


class UsageError(SwiftdeployError):
    """The command line contradicts itself or misses something."""

    exit_code = 2


class ConfigError(SwiftdeployError):
    """swiftdeploy.toml does not parse or does not make sense."""

    exit_code = 3


class CheckpointError(SwiftdeployError):
    """The weights cannot be read, are hostile, or do not fit the model."""

    exit_code = 4


class ModelError(SwiftdeployError):
    """The model cannot be found or built, or an input does not fit it."""

    exit_code = 4


class ConversionError(SwiftdeployError):
    """Capturing, fusing or converting the model failed."""

    exit_code = 5


class ParityError(SwiftdeployError):
    """An artifact's numbers do not agree with the oracle's."""

    exit_code = 6


class BudgetError(SwiftdeployError):
    """A stated budget (size, drift, latency) does not hold."""

    exit_code = 6


class ArtifactError(SwiftdeployError):
    """A file of a bundle or an artifact is damaged, missing or not what its name says."""

    exit_code = 7


class DependencyError(SwiftdeployError):
    """A library, a tool or a platform that this step needs is not there."""

    exit_code = 8


def refused_by_system(error: BaseException) -> ArtifactError | None:
    """What the system refuses about a file, where nobody said it in better words: no bug of ours is behind it.

    None for any other error: a file that is not there, say, may well be a bug.
    """
    if not isinstance(error, OSError) or error.errno not in _REFUSALS or error.filename is None:
        return None
    return ArtifactError(f"{error.filename}: {error.strerror}", hint="check the path, your rights to it, and the disk")


@contextlib.contextmanager
def importing(what: str, *, hint: str) -> Iterator[None]:
    """Import an optional library: a DependencyError that begins with `what` where an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise DependencyError(f"{what}: {error}", hint=hint) from error


EXIT_CODES = {
    0: "ok",
    1: "bug",
    2: "usage",
    3: "configuration",
    4: "checkpoint or model",
    5: "conversion",
    6: "parity or budget",
    7: "artifact integrity",
    8: "missing dependency or platform",
    130: "interrupted",
}

# The worst first, for a run whose jobs fail in different ways. A bug may hide anything; a changed byte is worse than a
# wrong number, which is worse than none; and a machine that lacks something says nothing about the models.
SEVERITY = (130, 1, 7, 6, 5, 4, 8, 3, 2, 0)


def worst_code(codes: Iterable[int]) -> int:
    """The most severe of several exit codes, 0 for none; a code that is not in the table counts as a bug."""
    return min(codes, key=lambda code: SEVERITY.index(code if code in SEVERITY else 1), default=0)
