"""Where converters may leave what they need for a while: beside the bundle, and gone with it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from swiftdeploy.errors import ConversionError

FULL = 1 << 20  # bytes; a disk with less is full, for a converter that writes whole packages


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[None]:
    """Temporary files of the block go below `folder`, and are removed after it.

    coremltools writes whole packages into the temporary folder and removes them when Python ends: a killed run leaves
    them there, and a small /tmp fails an export to a large disk. Raises OSError for a conversion that failed on a full
    disk, which coremltools reports as a fault of its own.
    """
    work = folder / ".work"
    work.mkdir()
    before = tempfile.tempdir
    tempfile.tempdir = str(work)
    try:
        yield
    except ConversionError as error:
        if shutil.disk_usage(folder).free < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    finally:
        tempfile.tempdir = before
        shutil.rmtree(work, ignore_errors=True)
