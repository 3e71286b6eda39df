"""The checkpoint that the repository ships: trained, official in layout, and right about what it never saw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swiftdeploy import catalog
from swiftdeploy.checkpoint import build, load

FOLDER = Path(__file__).parent.parent.parent / "examples" / "digits"
ROW = catalog.find("swiftformer_digits")


@pytest.fixture(scope="module")
def loaded():
    return build(load(str(FOLDER / "swiftformer_digits.pth")), ROW, attention="token_l2")


@pytest.fixture(scope="module")
def held_out():
    files = sorted((FOLDER / "images").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) for file in files])
    labels = torch.tensor([int(file.parent.name) for file in files])
    return torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2), labels


def test_accuracy_on_held_out_images(loaded, held_out):
    images, labels = held_out
    assert len(labels) == 360
    assert sorted(set(labels.tolist())) == list(range(10))
    with torch.no_grad():
        right = (loaded.module(images).argmax(1) == labels).sum()
    assert int(right) >= 0.98 * 360


def test_the_wrong_generation_loads_and_is_wrong(loaded, held_out):
    """Why the generation is never guessed: a strict load succeeds, and a quarter of the answers change."""
    images, labels = held_out
    wrong = build(load(str(FOLDER / "swiftformer_digits.pth")), ROW, attention="sum")
    assert wrong.provenance.keys.strict
    with torch.no_grad():
        right = (wrong.module(images).argmax(1) == labels).sum()
    assert int(right) < 0.9 * 360


def test_both_heads_matter(loaded, held_out):
    images, _ = held_out
    module = loaded.module
    with torch.no_grad():
        pooled = []
        handle = module.head.register_forward_hook(lambda _, inputs, __: pooled.append(inputs[0]))
        mean = module(images)
        handle.remove()
        single = torch.nn.functional.linear(pooled[0], module.head.weight, module.head.bias)
    assert float((mean - single).norm() / mean.norm()) > 0.1


def test_what_ships_is_small():
    assert (FOLDER / "swiftformer_digits.pth").stat().st_size <= 1_500_000
    files = list((FOLDER / "images").glob("*/*.png"))
    assert len(files) <= 360
    assert sum(file.stat().st_size for file in files) < 500_000
    assert len((FOLDER / "labels.txt").read_text().split()) == 10


def test_the_layout_is_the_official_training_files(loaded):
    assert loaded.provenance.naming == "official"
    assert any("entry 'model'" in line for line in loaded.provenance.conclusions)
    assert loaded.preprocessing.crop == 32
