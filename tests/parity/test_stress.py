import pytest
import torch
from torch import nn

from swiftdeploy.parity.stress import stress_


class Everything(nn.Module):
    """One of each kind of parameter that a network may hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.plain = nn.BatchNorm2d(8, affine=False)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        self.group = nn.GroupNorm(2, 8)
        self.layer = nn.LayerNorm(8)
        self.unbiased = nn.LayerNorm(8, bias=False)
        self.dead = nn.LayerNorm(8, elementwise_affine=False)
        self.fc = nn.Linear(8, 4)
        self.layer_scale = nn.Parameter(torch.full((8, 1, 1), 1e-5))
        self.gamma = nn.Parameter(torch.full((8,), 1e-6))
        self.w_g = nn.Parameter(torch.zeros(8, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.temperature = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        x = self.group(self.depthwise(self.plain(self.norm(self.conv(x))))) * self.layer_scale
        tokens = self.layer(x.flatten(2).transpose(1, 2)) * self.gamma + self.token
        tokens = self.dead(self.unbiased(tokens)) * (tokens @ self.w_g) * self.temperature.exp()
        return self.fc(tokens.mean(1))


@pytest.fixture
def images():
    return torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def pair(images):
    torch.manual_seed(0)
    fresh = Everything().eval()
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    return before, stress_(fresh, images)


def test_every_parameter_and_statistic_leaves_its_default(pair):
    before, stressed = pair
    for name, value in stressed.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert (value != before[name]).all(), name
            assert torch.isfinite(value).all(), name


def test_no_branch_stays_nearly_closed(pair):
    _, stressed = pair
    for name in ("layer_scale", "gamma", "norm.weight", "layer.weight", "group.weight", "unbiased.weight"):
        value = stressed.state_dict()[name]
        assert 0.5 <= float(value.min()) <= float(value.max()) <= 1.5
        assert float(value.std()) > 0.05, name


def test_every_layer_has_unit_variance(pair, images):
    _, stressed = pair
    spreads = {}
    for name in ("conv", "depthwise", "fc"):
        stressed.get_submodule(name).register_forward_hook(
            lambda part, _, output, name=name: spreads.__setitem__(name, float(output.std()))
        )
    with torch.no_grad():
        assert torch.isfinite(stressed(images)).all()
    # The norms between them move after the layer before was fitted, by up to a factor of two.
    assert spreads["conv"] == pytest.approx(1.0, rel=1e-3)
    assert all(0.25 < spread < 4.0 for spread in spreads.values()), spreads


def test_statistics_are_near_what_they_see_but_never_equal(pair, images):
    _, stressed = pair
    with torch.no_grad():
        seen = stressed.conv(images).transpose(0, 1).flatten(1)
    # A channel of hardly any spread is taken for one of the layer's: a tiny divisor would magnify rounding.
    ratio = stressed.norm.running_var / seen.var(dim=1).clamp_min(float(seen.var()))
    assert 0.59 < float(ratio.min()) < float(ratio.max()) < 1.61
    assert ((stressed.norm.running_mean - seen.mean(dim=1)).abs() > 1e-4).all()


def test_a_norm_that_is_left_out_shows(pair, images):
    _, stressed = pair
    with torch.no_grad():
        expected = stressed(images)
        stressed.norm = nn.Identity()
        assert float((stressed(images) - expected).norm() / expected.norm()) > 0.05


def test_the_same_seed_gives_the_same_weights(images):
    states = [stress_(Everything().eval(), images, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["conv.weight"], states[2]["conv.weight"])


def test_what_was_there_before_leaves_no_trace(images):
    torch.manual_seed(5)
    first = stress_(Everything().eval(), images).state_dict()
    other = Everything().eval()
    for parameter in other.parameters():
        nn.init.constant_(parameter, 7.0)
    second = stress_(other, images).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_hook_stays_behind(pair):
    _, stressed = pair
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in stressed.modules())


def test_hooks_go_even_where_the_forward_fails(images):
    class Failing(Everything):
        def forward(self, x):
            raise RuntimeError("no")

    module = Failing().eval()
    with pytest.raises(RuntimeError, match="no"):
        stress_(module, images)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_layer_that_is_called_twice_is_fitted_once(images):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(self.conv(x))

    module = stress_(Twice().eval(), images)
    with torch.no_grad():
        assert float(module.conv(images).std()) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("attention", ["sum", "token_l2"])
def test_both_attention_generations_are_told_apart(network, attention):
    """Under stress the other generation is another function, and not 8e-4 away as at initialisation."""
    found = network("tiny", 32, attention=attention)
    other = {"sum": "token_l2", "token_l2": "sum"}[attention]
    parts = [part for part in found.module.modules() if hasattr(part, "attention")]
    try:
        for part in parts:
            part.attention = other
        with torch.no_grad():
            wrong = torch.cat([found.module(image[None]) for image in found.images[:5]])
    finally:
        for part in parts:
            part.attention = attention
    expected = found.expected[0][:5]
    assert float((wrong - expected).norm() / expected.norm()) > 0.1
