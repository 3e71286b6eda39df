"""Weights that exercise every path of an architecture, and the names that other projects give to its keys.

The renamings run from the official names outwards, the reverse of what the product does, and are themselves held
against digests of the key lists that transformers 5.23 and timm 1.0.31 produce (data/keys.json).
"""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

KEYS = json.loads((Path(__file__).parent / "data" / "keys.json").read_text())


def stress(module, seed=0):
    """Random statistics, layer scales and attention vectors: a default initialisation hides most mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in module.state_dict().items():
        leaf = key.rsplit(".", 1)[-1]
        noise = torch.randn(value.shape, generator=generator)
        uniform = torch.rand(value.shape, generator=generator) + 0.5
        if leaf == "num_batches_tracked":
            value.fill_(100)
        elif leaf == "running_var" or "layer_scale" in key or (value.dim() == 1 and leaf == "weight"):
            value.copy_(uniform)
        elif value.dim() == 1:
            value.copy_(0.2 * noise)
        elif leaf == "w_g":
            value.copy_(noise)
        else:
            value.copy_(noise / value[0].numel() ** 0.5)
    return module.eval().requires_grad_(False)


def digest(state):
    lines = "".join(f"{key} {'x'.join(map(str, value.shape))}\n" for key, value in sorted(state.items()))
    return {"entries": len(state), "sha256": hashlib.sha256(lines.encode()).hexdigest()}


def hf_name(key):
    key = key.replace(".dwconv.", ".depth_wise_conv.").replace(".pwconv", ".point_wise_conv")
    key = key.replace(".attn.Proj.", ".attn.proj.").replace("patch_embed.", "swiftformer.patch_embed.patch_embedding.")
    parts = key.split(".")
    if parts[0] == "network":
        blocks = ["blocks"] if parts[2].isdigit() else []
        key = ".".join(["swiftformer.encoder.network", parts[1], *blocks, *parts[2:]])
    return key


def timm_name(key):
    key = key.replace(".attn.Proj.", ".attn.proj.").replace("patch_embed.", "stem.").replace("dist_head.", "head_dist.")
    key = re.sub(r"(layer_scale(_\d)?)$", r"\1.gamma", key)
    parts = key.split(".")
    if parts[0] == "network":
        place = int(parts[1])
        kind = ["downsample"] if place % 2 else ["blocks"]
        key = ".".join(["stages", str((place + 1) // 2), *kind, *parts[2:]])
    return key


def renamed(state, naming):
    rename = {"official": str, "hf": hf_name, "timm": timm_name}[naming]
    return {rename(key): value for key, value in state.items()}


@pytest.fixture(name="stress")
def stress_fixture():
    return stress


@pytest.fixture(name="renamed")
def renamed_fixture():
    return renamed


@pytest.fixture(name="digest")
def digest_fixture():
    return digest


@pytest.fixture(name="reference_keys")
def reference_keys_fixture():
    return KEYS
