import pytest
import torch
from torch import nn

from swiftdeploy import console
from swiftdeploy.compress.activations import conditioning_db, original_name, quantize_activations, with_modules
from swiftdeploy.errors import UsageError


@pytest.mark.parametrize("name", ["tiny", "mobilevitv2_050"])
def test_the_form_with_modules_computes_the_same(network, name):
    found = network(name, 64)
    graph = found.fused.graph
    with console.quiet(), torch.no_grad():
        expected, answer = graph(found.images[:1]), with_modules(graph)(found.images[:1])
    first = [value if isinstance(value, torch.Tensor) else value[0] for value in (expected, answer)]
    assert torch.equal(*first)


def test_layers_are_modules_under_their_weights_names(network):
    with console.quiet():
        graph = with_modules(network("tiny", 64).fused.graph)
    layers = [name for name, part in graph.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert "patch_embed_0_layer" in layers
    assert "head_layer" in layers
    kinds = {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}
    assert not kinds & {"aten.conv2d.default", "aten.linear.default", "aten.gelu.default", "aten.relu.default"}


def test_simulated_values_are_8_bit(network):
    found = network("tiny", 64)
    quantised = quantize_activations(found.fused.graph, found.images, found.images[:1])
    with torch.no_grad():
        answer = quantised.simulated(found.images[:1])
        plain = found.fused.graph(found.images[:1])
    assert not torch.equal(answer, plain)
    weights = [
        part.weight_fake_quant(part.weight)
        for part in quantised.simulated.modules()
        if hasattr(part, "weight_fake_quant")
    ]
    assert len(weights) > 10
    assert all(len(channel.unique()) <= 256 for weight in weights for channel in weight)


def test_a_module_that_was_not_captured_is_refused():
    with pytest.raises(UsageError, match="fused graph") as caught:
        quantize_activations(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert "--no-fuse" in caught.value.hint


class Stairs(nn.Module):
    """Rounds to steps of 1/16 after a layer that does nothing: half of a staircase's values lie next to an edge."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return torch.round(self.layer(x) * 16.0) / 16.0


def test_conditioning_of_a_smooth_module_and_of_a_staircase():
    images = torch.linspace(-1.0, 1.0, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    smooth = conditioning_db(nn.Sequential(nn.Identity()), images, batch=1)
    assert 65 < smooth < 80  # a uniform error of 2**-11 is 2**-11 / sqrt(3) in the mean, 71 dB below the peak
    assert conditioning_db(Stairs(), images, batch=1) < smooth - 10
    assert conditioning_db(nn.ReLU(), -images.abs(), batch=2) == 999.0


def test_names_of_fused_layers_lead_back():
    assert original_name("network_0_0_pwconv1_layer_conv_weight") == "network_0_0_pwconv1_weight"
    assert original_name("patch_embed_0_layer_0_bias") == "patch_embed_0_bias"
    assert original_name("head_layer_linear_weight") == "head_weight"
    assert original_name("shared_layer1_weight") == "shared_weight"
    assert original_name("patch_embed_0_weight") == "patch_embed_0_weight"
