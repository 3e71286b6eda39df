"""Every layout in which people save weights, and everything that is none."""

import argparse
import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from swiftdeploy.checkpoint import load
from swiftdeploy.errors import CheckpointError


def same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in expected.items())


def training_file(state):
    return {
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "lr_scheduler": {"last_epoch": 299},
        "epoch": 299,
        "model_ema": {key: value + 1 for key, value in state.items()},
        "scaler": {},
        "args": argparse.Namespace(model="SwiftFormer_XS", lr=1e-3, data=["a", None]),
        "best": np.float64(75.7),
        "loss": np.float32(1.5),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_official_training_file(legacy, state, tmp_path):
    file = tmp_path / "SwiftFormer_XS_ckpt.pth"
    torch.save(training_file(state), file, _use_new_zipfile_serialization=not legacy)
    found = load(str(file))
    same(found.state, state)
    assert found.source == file.name
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.format == ("pytorch-legacy" if legacy else "pytorch")
    assert found.config is None
    assert "entry 'model'" in found.notes[0]
    assert "model_ema" in found.notes[0]


@pytest.mark.parametrize("name", ["flat.pth", "flat.pt", "flat.bin", "flat.ckpt"])
def test_flat_state_dict(name, state, tmp_path):
    torch.save(state, tmp_path / name)
    found = load(str(tmp_path / name))
    same(found.state, state)
    assert found.notes == ()


@pytest.mark.parametrize("entry", ["model", "state_dict", "model_state_dict", "model_ema", "state_dict_ema"])
def test_containers(entry, state, tmp_path):
    torch.save({entry: state, "epoch": 1}, tmp_path / "c.pth")
    same(load(str(tmp_path / "c.pth")).state, state)


def test_entries_that_are_no_tensors_are_named(state, tmp_path):
    torch.save({**state, "n_averaged": torch.tensor(7), "version": "1"}, tmp_path / "c.pth")
    found = load(str(tmp_path / "c.pth"))
    same(found.state, state)
    assert found.ignored == ("n_averaged", "version")


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_hub_folders(kind, state, tmp_path):
    config = {"model_type": "swiftformer", "hidden_act": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text('{"size": 224}')
    weights = tmp_path / ("model.safetensors" if kind == "safetensors" else "pytorch_model.bin")
    save_file(state, weights) if kind == "safetensors" else torch.save(state, weights)
    for source in (tmp_path, weights):
        found = load(str(source))
        assert set(found.state) == set(state)
        assert all(torch.equal(found.state[key], value) for key, value in state.items())
        assert found.source == source.name
        assert found.format == ("safetensors" if kind == "safetensors" else "pytorch")
        assert found.config == {**config, "preprocessor_config": {"size": 224}}


def test_safetensors_are_preferred(state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    torch.save({key: value + 1 for key, value in state.items()}, tmp_path / "pytorch_model.bin")
    assert load(str(tmp_path)).format == "safetensors"


def shards(folder, state, suffix):
    keys = sorted(state)
    names = [f"model-0000{n}-of-00002{suffix}" for n in (1, 2)]
    parts = [{key: state[key] for key in keys[: len(keys) // 2]}, {key: state[key] for key in keys[len(keys) // 2 :]}]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name) if suffix == ".safetensors" else torch.save(part, folder / name)
    index = "model.safetensors.index.json" if suffix == ".safetensors" else "pytorch_model.bin.index.json"
    mapping = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / index).write_text(json.dumps({"weight_map": mapping}))
    return folder / index, names


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_sharded(suffix, state, tmp_path):
    _, names = shards(tmp_path, state, suffix)
    found = load(str(tmp_path))
    assert set(found.state) == set(state)
    assert all(torch.equal(found.state[key], value) for key, value in state.items())
    assert found.format.endswith("-sharded")
    lines = "".join(f"{hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    assert found.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_shards_must_agree_with_their_index(state, tmp_path, refused):
    index, names = shards(tmp_path, state, ".safetensors")
    mapping = json.loads(index.read_text())["weight_map"]
    key = sorted(state)[0]
    index.write_text(json.dumps({"weight_map": {**mapping, "extra.weight": names[0]}}))
    refused(lambda: load(str(tmp_path)), CheckpointError, "lack 1 keys", "extra.weight")
    index.write_text(json.dumps({"weight_map": {**mapping, key: names[1]}}))
    refused(lambda: load(str(tmp_path)), CheckpointError, names[0], key)
    index.write_text(json.dumps({"weight_map": {**mapping, key: "../model.safetensors"}}))
    refused(lambda: load(str(tmp_path)), CheckpointError, "'../model.safetensors'")
    index.write_text(json.dumps({"weight_map": {**mapping, key: "other.bin"}}))
    refused(lambda: load(str(tmp_path)), CheckpointError, "mixes formats")
    index.write_text(json.dumps({"weight_map": {}}))
    refused(lambda: load(str(tmp_path)), CheckpointError, "no weight_map")
    index.write_text("{")
    refused(lambda: load(str(tmp_path)), CheckpointError, "is not JSON")
    index.write_text("[]")
    refused(lambda: load(str(tmp_path)), CheckpointError, "no JSON object")
    (tmp_path / names[0]).unlink()
    index.write_text(json.dumps({"weight_map": mapping}))
    refused(lambda: load(str(tmp_path)), CheckpointError, names[0], "not there")


def test_values_are_frozen_and_own_their_memory(state, tmp_path):
    file = tmp_path / "c.pth"
    torch.save(state, file)
    found = load(str(file))
    first = next(iter(found.state.values())).clone()
    with file.open("r+b") as handle:
        handle.write(b"\0" * 64)
    assert torch.equal(next(iter(found.state.values())), first)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.source = "other"


def test_half_precision_is_kept_as_stored(state, tmp_path):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file(half, tmp_path / "half.safetensors")
    assert load(str(tmp_path / "half.safetensors")).state["head.weight"].dtype == torch.float16


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_values_that_are_not_finite(value, suffix, state, tmp_path, refused):
    state["head.bias"][3] = value
    file = tmp_path / f"c{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    refused(lambda: load(str(file)), CheckpointError, file.name, "head.bias has 1 of 7 values")


def test_no_path_reaches_the_value(state, tmp_path):
    torch.save(state, tmp_path / "c.pth")
    found = load(str(tmp_path / "c.pth"))
    assert str(tmp_path) not in repr(dataclasses.replace(found, state={}))
