"""What can go wrong with a cluster before any job starts."""

import builtins

import pytest

from swiftdeploy.errors import DependencyError, UsageError
from swiftdeploy.pipeline import cluster


def first(scheduler):
    return next(cluster.run_there([], scheduler=scheduler))


@pytest.mark.parametrize("scheduler", ["nonsense://x", "tcp://host:port:more", ""])
def test_what_is_no_address(scheduler):
    with pytest.raises(UsageError, match="no address"):
        first(scheduler)


def test_nobody_listens(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(DependencyError, match="no scheduler answers") as caught:
        first("tcp://127.0.0.1:1")
    assert caught.value.exit_code == 8


def test_without_the_library(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "distributed":
            raise ImportError("no distributed here")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match="needs dask"):
        first("tcp://127.0.0.1:1")
