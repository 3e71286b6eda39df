"""One torch thread: how many share a sum decides its last bit, and what is recorded must not depend on that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_lock = threading.Lock()
_inside = {"count": 0, "before": 0}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread inside, in every Python thread that is; the last one out restores."""
    with _lock:
        if _inside["count"] == 0:
            _inside["before"] = torch.get_num_threads()
        _inside["count"] += 1
        torch.set_num_threads(1)  # OpenMP keeps a number for each Python thread
    try:
        yield
    finally:
        with _lock:
            _inside["count"] -= 1
            if _inside["count"] == 0:
                torch.set_num_threads(_inside["before"])
