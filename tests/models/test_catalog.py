"""What the catalog claims: counts are counted here, and listing it costs no torch."""

import json
import subprocess
import sys

import pytest
import torch
from swiftdeploy_models.catalog import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swiftdeploy import catalog

SIDES = {"swiftformer_digits": 32, "efficientnet_lite0": 224}
# The guide's table, in millions at 224 px: convolutions, linear layers and q @ w_g.
SWIFTFORMER_MACS = {"xs": 602.43, "s": 984.60, "l1": 1595.99, "l3": 4008.37}


def macs(module, x):
    """Multiply-accumulates of convolutions and linear layers, by their definition."""
    counted = []

    def count(layer, _, output):
        per_output = layer.weight[0].numel()
        counted.append(output.numel() * per_output)

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    module(x)
    return sum(counted)


def matrix_products(module, x):
    """Multiply-accumulates of q @ w_g: one a token and channel, in every attention block."""
    counted = []
    for name, layer in module.named_modules():
        if name.endswith("attn") and hasattr(layer, "w_g"):
            layer.register_forward_hook(lambda _, inputs, __: counted.append(inputs[0].numel()))
    module(x)
    return sum(counted)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_parameters_and_macs_are_exact(row):
    with torch.device("meta"):
        module = catalog.resolve(row.factory)().eval()
        x = torch.empty(1, row.channels, row.input_size, row.input_size)
        with FlopCounterMode(display=False) as counter:
            assert module(x).shape == (1, row.num_classes)
        assert sum(parameter.numel() for parameter in module.parameters()) == row.parameters
        assert macs(module, x) + matrix_products(module, x) == row.macs
    assert counter.get_total_flops() == 2 * row.macs


@pytest.mark.parametrize("variant", SWIFTFORMER_MACS)
def test_swiftformer_macs_are_those_of_the_reference(variant):
    assert catalog.find(f"swiftformer_{variant}").macs / 1e6 == pytest.approx(SWIFTFORMER_MACS[variant], abs=0.01)


def test_names_are_unique_and_readers_resolve():
    assert len({row.name for row in MODELS}) == len(MODELS) == 13
    for row in MODELS:
        assert callable(catalog.resolve(row.reader))
        assert row.preprocessing.crop == row.input_size
        assert len(row.preprocessing.mean) == row.channels


def test_published_figures_name_their_source_and_device():
    for row in MODELS:
        for figure in row.published:
            assert figure.source
            assert (figure.metric == "latency_ms") == bool(figure.device)
            assert 0 < figure.value <= 100
    assert all(row.published for row in MODELS if row.name != "swiftformer_digits")


def test_listing_imports_no_torch():
    code = (
        "import json, sys; from swiftdeploy import catalog; names = [row.name for row in catalog.entries()]; "
        "heavy = {'torch', 'numpy', 'coremltools', 'onnx', 'onnxruntime', 'timm', 'transformers'} & set(sys.modules); "
        "print(json.dumps([names, sorted(heavy)]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(result.stdout)
    assert set(names) >= {row.name for row in MODELS}
    assert heavy == []
