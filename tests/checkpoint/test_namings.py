"""From the folder that another library wrote to the same numbers, end to end."""

import json

import pytest
import torch
from safetensors.torch import save_file

from swiftdeploy import catalog
from swiftdeploy.checkpoint import build, load
from swiftdeploy.errors import CheckpointError

DIGITS = catalog.find("swiftformer_digits")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder written by transformers' own save_pretrained, and its model."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    config = transformers.SwiftFormerConfig(
        embed_dims=[16, 24, 48, 96], depths=[2, 2, 2, 2], num_labels=6, layer_scale_init_value=0.7
    )
    model = transformers.SwiftFormerForImageClassification(config)
    model.train()(pixel_values=torch.randn(4, 3, 64, 64))
    model.eval().save_pretrained(folder)
    return folder, model


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_folder(saved):
    folder, model = saved
    loaded = build(load(str(folder)), DIGITS)
    assert loaded.provenance.naming == "hf"
    assert loaded.arguments["attention"] == "sum"
    assert loaded.arguments["num_classes"] == 6
    assert loaded.provenance.format == "safetensors"
    assert loaded.preprocessing.squash
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), model(pixel_values=x).logits)


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_folder_never_becomes_token_l2(saved, refused):
    refused(lambda: build(load(str(saved[0])), DIGITS, attention="token_l2"), CheckpointError, "not 'token_l2'")


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_config_of_another_function(saved, refused, tmp_path):
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    refused(lambda: build(load(str(tmp_path)), DIGITS), CheckpointError, "hidden_act = 'relu'")


def timm_name(key):
    parts = key.split(".")
    if parts[0] == "network":
        place = int(parts[1])
        parts[:2] = ["stages", str((place + 1) // 2), "downsample" if place % 2 else "blocks"]
    name = ".".join(parts).replace("patch_embed.", "stem.").replace("dist_head.", "head_dist.").replace("Proj", "proj")
    return f"{name}.gamma" if "layer_scale" in name else name


def test_a_timm_folder(digits, state, tmp_path):
    save_file({timm_name(key): value for key, value in state.items()}, tmp_path / "model.safetensors")
    config = {"architecture": "swiftformer_xs", "pretrained_cfg": {"crop_pct": 0.95, "input_size": [3, 64, 64]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = build(load(str(tmp_path)), DIGITS)
    assert (loaded.provenance.naming, loaded.arguments["attention"]) == ("timm", "token_l2")
    assert loaded.preprocessing.resize == 67
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), digits(x))
