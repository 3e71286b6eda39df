"""MobileViT-v2's keys are timm's, and its numbers those of timm, transformers and the definition."""

import pytest
import torch
from swiftdeploy_models import mobilevit_v2
from torch.nn import functional as F

from swiftdeploy.errors import CheckpointError

WIDTHS = ("050", "075", "100", "125", "150", "175", "200")


def make(width, **options):
    return getattr(mobilevit_v2, f"mobilevitv2_{width}")(**options)


@pytest.mark.parametrize("width", WIDTHS)
def test_keys_and_shapes_are_timms(width, digest, reference_keys):
    with torch.device("meta"):
        state = make(width).state_dict()
    assert digest(state) == reference_keys[f"mobilevitv2_{width}"]["timm"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("width", ["050", "100"])
def test_numbers_are_timms(width, stress):
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import: {error}")
    ours, theirs = stress(make(width)), timm.create_model(f"mobilevitv2_{width}").eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


HF_BLOCKS = {
    "conv1_1x1.conv": "expand_1x1.convolution",
    "conv1_1x1.bn": "expand_1x1.normalization",
    "conv2_kxk.conv": "conv_3x3.convolution",
    "conv2_kxk.bn": "conv_3x3.normalization",
    "conv3_1x1.conv": "reduce_1x1.convolution",
    "conv3_1x1.bn": "reduce_1x1.normalization",
    "conv_kxk.conv": "conv_kxk.convolution",
    "conv_kxk.bn": "conv_kxk.normalization",
    "conv_1x1": "conv_1x1.convolution",
    "conv_proj.conv": "conv_projection.convolution",
    "conv_proj.bn": "conv_projection.normalization",
    "norm": "layernorm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.qkv_proj": "attention.qkv_proj.convolution",
    "attn.out_proj": "attention.out_proj.convolution",
    "mlp.fc1": "ffn.conv1.convolution",
    "mlp.fc2": "ffn.conv2.convolution",
}


def hf_name(key):
    layer, leaf = key.rsplit(".", 1)
    parts = layer.split(".")
    if parts[0] == "stem":
        return f"mobilevitv2.conv_stem.{'convolution' if parts[1] == 'conv' else 'normalization'}.{leaf}"
    if parts[0] == "head":
        return f"classifier.{leaf}"
    stage, block, rest = int(parts[1]), int(parts[2]), parts[3:]
    prefix = f"mobilevitv2.encoder.layer.{stage}"
    if stage < 2:
        prefix += f".layer.{block}"
    elif block == 0:
        prefix += ".downsampling_layer"
    if rest[0] == "transformer":
        prefix, rest = f"{prefix}.transformer.layer.{rest[1]}", rest[2:]
    return f"{prefix}.{HF_BLOCKS['.'.join(rest)]}.{leaf}"


@pytest.mark.filterwarnings("ignore")
def test_numbers_are_transformers(stress):
    transformers = pytest.importorskip("transformers")
    ours = stress(make("050"))
    with torch.device("meta"):
        config = transformers.MobileViTV2Config(width_multiplier=0.5, num_labels=1000)
        theirs = transformers.MobileViTV2ForImageClassification(config).eval()
    theirs.load_state_dict({hf_name(k): v for k, v in ours.state_dict().items()}, strict=True, assign=True)
    # Even maps at every stage: transformers does not resize odd ones, as timm and ours do.
    x = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(pixel_values=x, return_dict=False)[0]
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_attention_follows_its_definition(stress):
    module = stress(mobilevit_v2.SeparableSelfAttention(6))
    x = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(2))
    state = module.state_dict()
    expected = torch.empty_like(x)
    for b in range(2):
        for p in range(4):
            tokens = x[b, :, p].T
            projected = tokens @ state["qkv_proj.weight"][:, :, 0, 0].T + state["qkv_proj.bias"]
            scores = torch.exp(projected[:, 0]) / torch.exp(projected[:, 0]).sum()
            context = (scores[:, None] * projected[:, 1:7]).sum(0)
            out = torch.clamp(projected[:, 7:], min=0) * context
            expected[b, :, p] = (out @ state["out_proj.weight"][:, :, 0, 0].T + state["out_proj.bias"]).T
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


def test_patches_are_torchs_unfold_and_back():
    x = torch.randn(2, 3, 6, 8)
    patches = mobilevit_v2._unfold(x)
    torch.testing.assert_close(patches, F.unfold(x, kernel_size=2, stride=2).reshape(2, 3, 4, 12))
    torch.testing.assert_close(mobilevit_v2._fold(patches, 6, 8), x)


def test_odd_maps_are_resized_to_even(stress):
    block = stress(mobilevit_v2.MobileViTV2Block(8, 1))
    x = torch.randn(1, 8, 7, 6)
    resized = F.interpolate(x, size=(8, 6), mode="bilinear", align_corners=True)
    torch.testing.assert_close(block(x), block(resized))


def test_torch_export_captures_it(stress):
    module = stress(mobilevit_v2.MobileViTV2Block(8, 1))
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))


def test_reader_takes_counts_from_the_weights():
    with torch.device("meta"):
        state = make("050", num_classes=11, in_channels=1).state_dict()
    reading = mobilevit_v2.read(state, config=None, attention=None)
    assert (reading.naming, dict(reading.arguments)) == ("timm", {"num_classes": 11, "in_channels": 1})
    assert reading.preprocessing is None
    config = {"architecture": "mobilevitv2_050", "pretrained_cfg": {"input_size": [3, 384, 384], "crop_pct": 1.0}}
    found = mobilevit_v2.read(state, config=config, attention=None).preprocessing
    assert (found.resize, found.crop, found.mean, found.std) == (384, 384, (0.0,) * 3, (1.0,) * 3)


def test_reader_refuses_other_architectures():
    with pytest.raises(CheckpointError, match=r"stem\.conv\.weight or head\.fc\.weight"):
        mobilevit_v2.read({"stem.0.weight": torch.zeros(1)}, config=None, attention=None)
