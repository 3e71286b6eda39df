"""What can go wrong with a cluster before any work starts."""

import sys

import pytest

from swiftdeploy import scheduler
from swiftdeploy.errors import DependencyError, UsageError


@pytest.mark.parametrize("address", ["nonsense://x", "tcp://host:port:more", "tcp://", "not an address", ""])
def test_what_is_no_address(address):
    with pytest.raises(UsageError, match="no address") as caught:
        scheduler.connect(address)
    assert caught.value.exit_code == 2


def test_nobody_listens(monkeypatch):
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 0.5)
    with pytest.raises(DependencyError, match="no scheduler answers") as caught:
        scheduler.connect("tcp://127.0.0.1:1")
    assert caught.value.exit_code == 8


def test_a_failure_makes_no_client(monkeypatch):
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(DependencyError, match="no scheduler answers"):
        scheduler.connect("tcp://127.0.0.1:1")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match=r"needs dask.distributed") as caught:
        scheduler.connect("tcp://127.0.0.1:1")
    assert "swiftdeploy-toolchain[dask]" in caught.value.hint
