"""Loading images and running artifacts without the code under test."""

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session")
def held_out(digits):
    """All held-out digits: pixels (360, 3, 32, 32) float32 from 0 to 255, and their classes."""
    files = sorted((digits / "images").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) for file in files])
    return pixels.transpose(0, 3, 1, 2), np.array([int(file.parent.name) for file in files])


@pytest.fixture(scope="session")
def scores(oracle, held_out):
    """The oracle's logits (360, 10) on the held-out digits."""
    with torch.no_grad():
        return oracle(torch.from_numpy((held_out[0] / 255 - 0.5) / 0.5)).numpy()
