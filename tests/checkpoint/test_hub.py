"""Hub ids, without a network: a cache laid out as huggingface_hub lays it out, and its own exceptions."""

import json
import socket
import sys
import types

import pytest
from safetensors.torch import save_file

from swiftdeploy.checkpoint import load
from swiftdeploy.errors import CheckpointError, DependencyError

huggingface_hub = pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    tried = []

    def resolve(host, *_, **__):
        tried.append(host)
        raise OSError("no network in tests")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield
    assert tried == []


def cached(cache, state):
    repository = cache / "models--MBZUAI--swiftformer-xs"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "swiftformer"}))
    save_file(state, snapshot / "model.safetensors")
    return snapshot


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_cached_model_needs_no_network(revision, state, tmp_path):
    cached(tmp_path, state)
    found = load(f"hf-hub:MBZUAI/swiftformer-xs{revision}", cache_dir=str(tmp_path))
    assert set(found.state) == set(state)
    assert found.source == f"hf-hub:MBZUAI/swiftformer-xs{revision}"
    assert found.config == {"model_type": "swiftformer"}
    assert found.format == "safetensors"


def test_offline_and_not_cached(tmp_path, refused):
    error = refused(
        lambda: load("hf-hub:MBZUAI/swiftformer-xs", cache_dir=str(tmp_path)), CheckpointError, "not in the cache"
    )
    assert "give its path" in error.hint


@pytest.mark.parametrize(
    "source", ["hf-hub:", "hf-hub:name", "hf-hub:a/b/c", "hf-hub:../x/y", "hf-hub:a/b@", "hf-hub:a b/c"]
)
def test_ids_of_the_wrong_form(source, refused):
    refused(lambda: load(source), CheckpointError, "is no hub id")


def test_pickles_are_fetched_only_without_safetensors(state, tmp_path, monkeypatch):
    folder = cached(tmp_path, state)
    asked = []

    def download(repo, *, revision, cache_dir, allow_patterns):
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load("hf-hub:a/b")
    assert len(asked) == 1
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load("hf-hub:a/b")
    assert "pytorch_model.bin" in asked[2]
    assert not any("safetensors" in pattern for pattern in asked[2])
    assert not any(pattern == "*" for patterns in asked for pattern in patterns)


def failing(error):
    def download(*_, **__):
        raise error

    return download


def test_failures_of_the_hub(monkeypatch, refused):
    response = types.SimpleNamespace(headers={}, request=None)
    missing = huggingface_hub.errors.RepositoryNotFoundError("no", response=response)
    for error, fact in (
        (missing, "no such model or refuses it"),
        (huggingface_hub.errors.HFValidationError("bad"), "no such model or refuses it"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (TimeoutError(), "could not be fetched: TimeoutError"),
        (RuntimeError("odd\nand long"), "could not be fetched: odd"),
    ):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", failing(error))
        refused(lambda: load("hf-hub:a/b"), CheckpointError, "hf-hub:a/b", fact)


def test_without_the_library(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    error = refused(lambda: load("hf-hub:a/b"), DependencyError, "needs huggingface_hub")
    assert error.exit_code == 8
