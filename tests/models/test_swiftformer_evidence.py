"""When w_g says that only weight decay moved it, and, more important, when it says nothing."""

import pytest
import torch
from swiftdeploy_models.swiftformer_evidence import SHRUNKEN, decayed_only

WIDTHS = {"xs": (48, 56, 112, 220), "s": (48, 64, 168, 224), "l1": (48, 96, 192, 384), "l3": (64, 128, 320, 512)}


def normal(widths, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(width, 1, generator=generator) for width in widths]


@pytest.mark.parametrize("variant", WIDTHS)
@pytest.mark.parametrize("factor", [1e-5, 1e-3, 5e-3])
def test_decayed_vectors_are_recognised(variant, factor):
    found = sum(decayed_only([factor * v for v in normal(WIDTHS[variant], seed)]) is not None for seed in range(200))
    assert found >= 198


def test_the_sentence_names_the_factor():
    sentence = decayed_only([1e-3 * v for v in normal(WIDTHS["xs"], 0)])
    assert "all 4 blocks" in sentence
    assert "weight decay alone" in sentence


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.1, 2 * SHRUNKEN])
def test_an_initialisation_or_a_mild_decay_is_no_evidence(factor):
    assert not any(decayed_only([factor * v for v in normal(WIDTHS["xs"], seed)]) for seed in range(50))


@pytest.mark.parametrize(
    ("name", "vectors"),
    [
        ("one block moved", lambda v: [1e-3 * v[0], 1e-3 * v[1], 2e-3 * v[2], 1e-3 * v[3]]),
        ("one block of ordinary size", lambda v: [1e-3 * v[0], 1e-3 * v[1], 1e-3 * v[2], v[3]]),
        ("uniform", lambda v: [1e-3 * torch.sign(t) * torch.rand(t.shape) for t in v]),
        ("constant", lambda v: [1e-3 * torch.ones_like(t) for t in v]),
        ("signs", lambda v: [1e-3 * torch.sign(t) for t in v]),
        ("heavy tails", lambda v: [1e-3 * t**3 / 4 for t in v]),
        ("shifted", lambda v: [1e-3 * (t + 1) for t in v]),
        ("zero", lambda v: [0 * t for t in v]),
        ("one block zero", lambda v: [0 * v[0], *(1e-3 * t for t in v[1:])]),
        ("one block only", lambda v: [1e-3 * v[3]]),
        ("none", lambda _: []),
        ("too few elements", lambda v: [1e-3 * t[:8] for t in v]),
    ],
)
def test_anything_else_is_no_evidence(name, vectors):
    torch.manual_seed(0)
    assert decayed_only(vectors(normal(WIDTHS["xs"], 0))) is None


def adamw(vectors, gradient, steps=1500, rate=2e-3, decay=4.0):
    """What AdamW makes of vectors under a gradient: the two generations in miniature."""
    parameters = [torch.nn.Parameter(v.clone()) for v in vectors]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, foreach=True)
    generator = torch.Generator().manual_seed(9)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        for parameter in parameters:
            parameter.grad = gradient(parameter, generator)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def test_adamw_without_gradient_leaves_the_mark():
    trained = adamw(normal(WIDTHS["xs"], 3), lambda p, _: torch.zeros_like(p))
    assert decayed_only(trained) is not None


def test_adamw_with_the_faintest_gradient_does_not():
    """Noise of 1e-7 that is orthogonal to w_g and grows as w_g shrinks, as a scale-invariant function's does."""

    def faint(parameter, generator):
        noise = torch.randn(parameter.shape, generator=generator)
        unit = parameter / parameter.norm()
        return 1e-7 * (noise - unit * (unit * noise).sum()) / parameter.norm()

    trained = adamw(normal(WIDTHS["xs"], 3), faint)
    assert min(float(v.square().mean().sqrt()) for v in trained) > SHRUNKEN
    assert decayed_only(trained) is None
