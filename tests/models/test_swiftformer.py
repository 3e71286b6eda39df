"""Keys, counts and numbers of SwiftFormer, against transformers, timm and the equations written out."""

import pytest
import torch
from swiftdeploy_models import swiftformer
from torch.nn import functional as F

VARIANTS = {
    "xs": (3_475_360, 3_254_360),
    "s": (6_092_128, 5_867_128),
    "l1": (12_057_920, 11_672_920),
    "l3": (28_494_736, 27_981_736),
}
# Shape, widths and depths as transformers' config wants them.
CONFIGS = {
    "xs": ([48, 56, 112, 220], [3, 3, 6, 4]),
    "s": ([48, 64, 168, 224], [3, 3, 9, 6]),
    "l1": ([48, 96, 192, 384], [4, 3, 10, 5]),
    "l3": ([64, 128, 320, 512], [4, 4, 12, 6]),
}


def make(variant, **options):
    return getattr(swiftformer, f"swiftformer_{variant}")(**options)


def stressed(stress, variant, **options):
    """A stressed module without the seconds that its own initialisation takes."""
    with torch.device("meta"):
        module = make(variant, **options)
    return stress(module.to_empty(device="cpu"))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_keys_shapes_and_counts(variant, digest, reference_keys):
    with torch.device("meta"):
        full, single = make(variant), make(variant, distillation=False)
    assert digest(full.state_dict()) == reference_keys[f"swiftformer_{variant}"]["official"]
    assert (parameters(full), parameters(single)) == VARIANTS[variant]
    assert set(full.state_dict()) - set(single.state_dict()) == {"dist_head.weight", "dist_head.bias"}


def test_generations_share_every_key_and_shape():
    shapes = [
        {key: value.shape for key, value in make("digits", attention=a).state_dict().items()}
        for a in ("sum", "token_l2")
    ]
    assert shapes[0] == shapes[1]


def test_initialisation():
    torch.manual_seed(0)
    state = make("xs").state_dict()
    assert all((v == 1).all() for k, v in state.items() if k.endswith("layer_scale"))
    assert all((v == 1e-5).all() for k, v in state.items() if k.endswith(("layer_scale_1", "layer_scale_2")))
    w_g = torch.cat([v.flatten() for k, v in state.items() if k.endswith("w_g")])
    assert abs(float(w_g.std()) - 1) < 0.15
    assert abs(float(state["network.6.0.pwconv1.weight"].std()) - 0.02) < 1e-3
    assert not state["network.6.0.pwconv1.bias"].any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", VARIANTS)
def test_sum_is_what_transformers_computes(variant, stress, renamed):
    transformers = pytest.importorskip("transformers")
    widths, depths = CONFIGS[variant]
    config = transformers.SwiftFormerConfig(embed_dims=widths, depths=depths, num_labels=1000)
    with torch.device("meta"):
        theirs = transformers.SwiftFormerForImageClassification(config).eval()
        other = make(variant, attention="token_l2").eval()
    ours = stressed(stress, variant, attention="sum")
    theirs.load_state_dict(renamed(ours.state_dict(), "hf"), strict=True, assign=True)
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(pixel_values=x, return_dict=False)[0]
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5 * float(expected.std()))
        # The other generation takes the same weights and answers something else: this is what must never be guessed.
        other.load_state_dict(ours.state_dict(), strict=True, assign=True)
        assert float((other(x) - expected).norm() / expected.norm()) > 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", VARIANTS)
def test_token_l2_is_what_timm_computes(variant, stress, renamed):
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import: {error}")
    ours = stressed(stress, variant, attention="token_l2")
    theirs = timm.create_model(f"swiftformer_{variant}").eval()
    theirs.load_state_dict(renamed(ours.state_dict(), "timm"), strict=True)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5 * float(expected.std()))


def attention_by_definition(x, state, generation):
    """Equations 4 to 6 with the release's normalisations, token by token in float64."""
    weight = {key: value.double() for key, value in state.items()}
    tokens = x.double()

    def linear(t, name):
        return t @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    out = []
    for image in tokens:
        q = linear(image, "to_query")
        q = torch.stack([row / torch.sqrt((row * row).sum()) for row in q])
        k = linear(image, "to_key")
        k = torch.stack([row / torch.sqrt((row * row).sum()) for row in k])
        if generation == "sum":
            alpha = torch.ones(len(q), dtype=torch.float64)
        else:
            alpha = torch.stack([(row * weight["w_g"][:, 0]).sum() for row in q]) / q.shape[1] ** 0.5
            alpha = alpha / torch.sqrt((alpha * alpha).sum())
        global_query = sum(a * row for a, row in zip(alpha, q, strict=True))
        mixed = linear(torch.stack([row * global_query for row in k]), "Proj")
        out.append(linear(mixed + q, "final"))
    return torch.stack(out)


@pytest.mark.parametrize("generation", ["sum", "token_l2"])
def test_attention_follows_its_equations(generation, stress):
    module = stress(swiftformer.EfficientAdditiveAttention(12, generation))
    x = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(2))
    expected = attention_by_definition(x, module.state_dict(), generation)
    torch.testing.assert_close(module(x).double(), expected, rtol=1e-5, atol=1e-5)
    other = attention_by_definition(x, module.state_dict(), {"sum": "token_l2", "token_l2": "sum"}[generation])
    assert float((other - expected).abs().max()) > 1e-2


def test_block_is_three_residuals(stress):
    block = stress(swiftformer.SwiftFormerEncoder(8, "token_l2"))
    x = torch.randn(1, 8, 3, 5, generator=torch.Generator().manual_seed(3))
    state = block.state_dict()

    def conv(t, name, **options):
        return F.conv2d(t, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    def norm(t, name):
        s = {part: state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(t, s["running_mean"], s["running_var"], s["weight"], s["bias"], eps=1e-5)

    local = "local_representation"
    y = norm(conv(x, f"{local}.dwconv", padding=1, groups=8), f"{local}.norm")
    y = x + state[f"{local}.layer_scale"] * conv(F.gelu(conv(y, f"{local}.pwconv1")), f"{local}.pwconv2")
    tokens = y.permute(0, 2, 3, 1).reshape(1, 15, 8)
    attention = {key.removeprefix("attn."): value for key, value in state.items() if key.startswith("attn.")}
    attended = attention_by_definition(tokens, attention, "token_l2").float().reshape(1, 3, 5, 8).permute(0, 3, 1, 2)
    y = y + state["layer_scale_1"] * attended
    y = y + state["layer_scale_2"] * conv(F.gelu(conv(norm(y, "linear.norm1"), "linear.fc1")), "linear.fc2")
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-5)


def test_eval_averages_the_heads_and_training_returns_both(stress):
    module = stress(make("digits"))
    x = torch.randn(2, 3, 32, 32)
    pooled = module.norm(module.network[6](sequence(module, x, upto=6))).mean((2, 3))
    first, second = module.head(pooled), module.dist_head(pooled)
    torch.testing.assert_close(module(x), (first + second) / 2)
    assert not torch.allclose(first, second)
    both = module.train()(x)
    assert isinstance(both, tuple)
    assert [t.shape for t in both] == [(2, 10), (2, 10)]
    single = make("digits", distillation=False)
    assert single.train()(x).shape == (2, 10)


def sequence(module, x, upto):
    x = module.patch_embed(x)
    for block in module.network[:upto]:
        x = block(x)
    return x


@pytest.mark.parametrize("size", [(224, 224), (225, 193)])
def test_features_are_four_normalised_maps(size, stress):
    module = stress(make("digits", features=True))
    assert {"norm0.weight", "norm2.weight", "norm4.weight", "norm6.weight"} <= set(module.state_dict())
    assert not any(key.startswith(("head", "dist_head", "norm.")) for key in module.state_dict())
    x = torch.randn(1, 3, *size)
    maps = module(x)
    assert [m.shape[1] for m in maps] == [16, 24, 48, 96]
    for stride, m in zip((4, 8, 16, 32), maps, strict=True):
        assert m.shape[2:] == tuple(-(-side // stride) for side in size)
    expected = module.norm2(sequence(module, x, upto=3))
    torch.testing.assert_close(maps[1], expected)


def test_class_and_channel_counts():
    module = make("digits", num_classes=7, in_channels=1)
    assert module.eval()(torch.randn(1, 1, 32, 32)).shape == (1, 7)


def test_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="token_l2"):
        make("digits", attention="softmax")


def test_w_g_has_a_gradient_of_exactly_zero_under_sum():
    """The premise of the evidence test, and why the softmax over one element stays in the module."""
    for generation, dead in (("sum", True), ("token_l2", False)):
        torch.manual_seed(0)
        module = swiftformer.EfficientAdditiveAttention(16, generation)
        module(torch.randn(2, 9, 16)).square().sum().backward()
        assert module.w_g.grad is not None
        assert bool((module.w_g.grad == 0).all()) is dead


@pytest.mark.parametrize("generation", ["sum", "token_l2"])
def test_torch_export_captures_it(generation, stress):
    module = stress(make("digits", attention=generation))
    x = torch.randn(1, 3, 32, 32)
    program = torch.export.export(module, (x,))
    torch.testing.assert_close(program.module()(x), module(x))
