"""Any ML Program is run, whatever it takes and gives. Oracle: the torch module on the inputs that the tool makes."""

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.errors import ParityError
from swiftdeploy.pipeline.feeds import seeded_feeds
from swiftdeploy.pipeline.verify import verify_artifact
from swiftdeploy.runtimes import open_artifact


class Words(nn.Module):
    """Tokens and an image, two outputs."""

    def __init__(self):
        super().__init__()
        self.table, self.seen = nn.Embedding(2, 6), nn.Conv2d(3, 6, 4, 4)

    def forward(self, tokens, image):
        words = self.table(tokens)
        return words @ self.seen(image).flatten(2), words.sum(1)


class Counter(nn.Module):
    """A state that every prediction changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 2.0


@pytest.fixture
def words(ct, convert):
    torch.manual_seed(0)
    module = Words().eval()
    example = (torch.zeros(1, 5, dtype=torch.int32), torch.zeros(1, 3, 16, 16))
    inputs = [
        ct.TensorType(name="tokens", shape=(1, 5), dtype=np.int32),
        ct.TensorType(name="image", shape=(1, 3, 16, 16)),
    ]
    return module, convert(module, example, inputs=inputs)


def test_several_inputs_of_several_kinds(words):
    module, path = words
    assert verify_artifact(path).reports == ()
    runtime = open_artifact(path)
    feeds = seeded_feeds(runtime.inputs)
    assert feeds["tokens"].dtype.kind == "i"
    with torch.no_grad():
        expected = module(*(torch.from_numpy(feeds[name]) for name in ("tokens", "image")))
    found = runtime.run(feeds)
    for name, value in zip(runtime.outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-4, atol=1e-4)


def test_a_state_starts_anew_for_each_prediction(ct, convert):
    states = [ct.StateType(wrapped_type=ct.TensorType(shape=(4,), dtype=np.float16), name="total")]
    path = convert(
        Counter(), torch.ones(4), ios=18, half=True, states=states,
        inputs=[ct.TensorType(name="x", shape=(4,), dtype=np.float16)],
    )  # fmt: skip
    assert verify_artifact(path).reports == ()
    runtime = open_artifact(path)
    first, second = (runtime.run({"x": np.ones(4, np.float32)}) for _ in range(2))
    assert next(iter(first.values())).tolist() == next(iter(second.values())).tolist() == [2.0] * 4


def test_an_image_comes_out_as_pixels(ct, convert):
    path = convert(
        Doubled(), torch.zeros(1, 3, 8, 8), ios=16,
        inputs=[ct.ImageType(name="picture", shape=(1, 3, 8, 8))],
        outputs=[ct.ImageType(name="same", color_layout=ct.colorlayout.RGB)],
    )  # fmt: skip
    runtime = open_artifact(path)
    pixels = seeded_feeds(runtime.inputs)["picture"]
    found = runtime.run({"picture": pixels})["same"]
    np.testing.assert_array_equal(found, np.clip(2 * pixels[0].transpose(1, 2, 0), 0, 255))
    assert verify_artifact(path).reports == ()


def test_one_that_gives_nan_is_refused(ct, convert):
    path = convert(Logarithm(), torch.ones(1, 4), inputs=[ct.TensorType(name="x", shape=(1, 4))])
    with pytest.raises(ParityError, match="NaN or Inf"):
        verify_artifact(path)


class Doubled(nn.Module):
    def forward(self, x):
        return (x * 2).clamp(0, 255)


class Logarithm(nn.Module):
    def forward(self, x):
        return torch.log(-x.abs())
