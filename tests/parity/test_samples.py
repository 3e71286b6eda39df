import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from swiftdeploy.parity.samples import natural_image, synthetic, to_input
from swiftdeploy.spec import Preprocessing

PROGRAM = """
import hashlib
from swiftdeploy.parity.samples import synthetic
print(hashlib.sha256(b"".join(s.name.encode() + s.image.tobytes() for s in synthetic((48, 40), 3))).hexdigest())
"""


def digest(samples):
    return hashlib.sha256(b"".join(s.name.encode() + s.image.tobytes() for s in samples)).hexdigest()


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_every_process_makes_the_same_images(seed):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == digest(synthetic((48, 40), 3))


def test_the_set():
    samples = {sample.name: sample.image for sample in synthetic((32, 40), 3)}
    assert list(samples) == [*(f"natural_{i}" for i in range(4)), "white_noise", "constant_0", "constant_255"]
    assert {image.shape for image in samples.values()} == {(32, 40, 3)}
    assert {image.dtype for image in samples.values()} == {np.dtype(np.uint8)}
    assert (samples["constant_0"] == 0).all()
    assert (samples["constant_255"] == 255).all()
    assert len({image.tobytes() for image in samples.values()}) == 7


def test_more_images_leave_the_first_ones_as_they_are():
    few, many = synthetic((16, 16), 3, natural=2), synthetic((16, 16), 3, natural=4)
    assert [s.image.tobytes() for s in few[:2]] == [s.image.tobytes() for s in many[:2]]
    assert digest(synthetic((16, 16), 3, seed=1)) != digest(synthetic((16, 16), 3, seed=2))


def slope(image):
    """The exponent of the radial amplitude spectrum, between one cycle in 64 pixels and one in 4."""
    grey = image.astype(np.float64).mean(axis=-1)
    amplitude = np.abs(np.fft.fft2(grey - grey.mean()))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(grey.shape[0]), np.fft.fftfreq(grey.shape[1]), indexing="ij"))
    edges = np.geomspace(1 / 64, 1 / 4, 9)
    bands = [amplitude[(radius >= low) & (radius < high)].mean() for low, high in pairwise(edges)]
    return np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(bands), 1)[0]


def test_natural_images_have_natural_spectra():
    samples = {sample.name: sample.image for sample in synthetic((256, 256), 3)}
    for number in range(4):
        assert slope(samples[f"natural_{number}"]) == pytest.approx(-1.0, abs=0.15)
    assert slope(samples["white_noise"]) == pytest.approx(0.0, abs=0.05)


def test_natural_images_have_colours_that_mostly_agree():
    image = natural_image((128, 128, 3), np.random.Generator(np.random.PCG64(1))).astype(np.float64)
    correlations = np.corrcoef(image.reshape(-1, 3).T)[np.triu_indices(3, 1)]
    assert (correlations > 0.6).all()
    assert (correlations < 0.98).all()
    assert 90 < image.mean() < 145
    assert 40 < image.std() < 70


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 32, 3), (33, 17, 4)], ids=str)
def test_any_shape(shape):
    image = natural_image(shape, np.random.Generator(np.random.PCG64(0)))
    assert (image.shape, image.dtype) == (shape, np.uint8)


def test_tensor_input_is_normalised_by_definition():
    preprocessing = Preprocessing(resize=8, crop=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    images = [s.image for s in synthetic((8, 6), 3)]
    found = to_input(images, preprocessing, "tensor")
    assert (found.shape, found.dtype) == ((7, 3, 8, 6), np.float32)
    for channel in range(3):
        exact = (images[1][:, :, channel] / 255.0 - preprocessing.mean[channel]) / preprocessing.std[channel]
        np.testing.assert_allclose(found[1, channel], exact, rtol=1e-5, atol=1e-6)
    assert found.flags["C_CONTIGUOUS"]


def test_image_input_is_pixels():
    images = [s.image for s in synthetic((8, 6), 3)]
    found = to_input(images, Preprocessing(resize=8, crop=8), "image")
    np.testing.assert_array_equal(found, np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    assert found.flags["C_CONTIGUOUS"]
