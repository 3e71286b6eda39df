import numpy as np

from swiftdeploy.pipeline.feeds import seeded_feeds
from swiftdeploy.spec import TensorSpec


def feed(shape, dtype="float32", seed=0):
    return seeded_feeds([TensorSpec(name="x", shape=shape, dtype=dtype)], seed=seed)["x"]


def test_the_same_seed_gives_the_same_inputs_and_another_one_others():
    assert np.array_equal(feed((1, 3, 16, 16)), feed((1, 3, 16, 16)))
    assert not np.array_equal(feed((1, 3, 16, 16)), feed((1, 3, 16, 16), seed=1))


def test_images_are_pixels_for_uint8_and_centred_for_floats():
    pixels, centred = feed((1, 3, 32, 32), "uint8"), feed((2, 3, 32, 32))
    assert (pixels.min() >= 0, pixels.max() <= 255, pixels.max() > 100) == (True, True, True)
    assert np.array_equal(pixels, pixels.round())
    assert abs(centred.mean()) < 0.5
    assert 0.3 < centred.std() < 2


def test_neighbouring_pixels_of_an_image_agree_and_those_of_noise_do_not():
    def likeness(values):
        return np.corrcoef(values[..., :-1].ravel(), values[..., 1:].ravel())[0, 1]

    assert likeness(feed((1, 3, 64, 64))) > 0.5
    assert abs(likeness(feed((1, 7, 64, 64)))) < 0.1


def test_integers_are_indices_into_anything_and_free_sizes_are_one():
    tokens = feed((0, 9), "int32")
    assert tokens.shape == (1, 9)
    assert set(tokens.ravel().tolist()) <= {0, 1}
    assert feed((), "float16").shape == ()
