"""Work here, over processes and over Dask: the same results, errors whole, nobody left behind."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import CancelledError

import pytest
from distributed import LocalCluster

from swiftdeploy.errors import ArtifactError, DependencyError
from swiftdeploy.evaluation.spread import here, over_dask, over_processes

CHUNKS = [[3, 4], [5], [6, 7, 8], [1]]
EXPECTED = {0: 7, 1: 5, 2: 21, 3: 1}


@pytest.fixture(scope="module")
def cluster():
    """Two threads in this process, behind a scheduler's address."""
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, silence_logs=50) as running:
        yield running.scheduler_address


def test_here():
    assert list(here(sum, CHUNKS)) == list(EXPECTED.items())


def test_over_processes():
    assert dict(over_processes(sum, CHUNKS, 2)) == EXPECTED
    assert multiprocessing.active_children() == []


def test_over_dask(cluster):
    assert dict(over_dask(sum, CHUNKS, cluster)) == EXPECTED


def test_children_compute_on_one_thread(monkeypatch):
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    assert set(dict(over_processes(os.getenv, names, 2)).values()) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("road", ["here", "processes", "dask"])
def test_an_error_comes_through_with_its_hint(request, road):
    chunks = [ArtifactError("a fact", hint="a hint")] * 2
    spread = {
        "here": lambda: here(throw, chunks),
        "processes": lambda: over_processes(throw, chunks, 2),
        "dask": lambda: over_dask(throw, chunks, request.getfixturevalue("cluster")),
    }
    with pytest.raises(ArtifactError, match="a fact") as caught:
        list(spread[road]())
    assert caught.value.hint == "a hint"


def test_a_cluster_that_is_lost(cluster):
    with pytest.raises(DependencyError, match="was lost: gone") as caught:
        list(over_dask(throw, [CancelledError("gone")], cluster))
    assert "--resume" in caught.value.hint


def test_workers_without_a_module(cluster):
    with pytest.raises(DependencyError, match="lack a module: No module named 'x'"):
        list(over_dask(throw, [ModuleNotFoundError("No module named 'x'")], cluster))


def test_a_cluster_without_workers(monkeypatch):
    monkeypatch.setattr("swiftdeploy.evaluation.spread.WORKER_SECONDS", 0.2)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", silence_logs=50) as empty,
        pytest.raises(DependencyError, match="has no workers") as caught,
    ):
        list(over_dask(sum, CHUNKS, empty.scheduler_address))
    assert caught.value.hint == f"start some: dask worker {empty.scheduler_address}"


def throw(error):
    raise error


def test_a_worker_that_dies():
    with pytest.raises(DependencyError, match="a worker process died") as caught:
        list(over_processes(kill, [signal.SIGKILL, signal.SIGKILL], 2))
    assert "memory" in caught.value.hint


def kill(number):
    os.kill(os.getpid(), number)


def test_an_iteration_that_is_given_up_leaves_no_process():
    answers = over_processes(time.sleep, [0, 600, 600], 2)
    next(answers)
    answers.close()
    # Not join: the pool's own thread may have reaped the child and not said so yet, and join then takes it for alive.
    until = time.monotonic() + 60
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []
