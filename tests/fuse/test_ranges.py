import math

import pytest
import torch
from torch import nn

from swiftdeploy.capture import capture
from swiftdeploy.fuse.graph import CONV, calls
from swiftdeploy.fuse.ranges import largest


def watched(batch, module=None):
    module = (module or nn.Conv2d(1, 2, 1, bias=False)).eval().requires_grad_(False)
    graph = capture(module, torch.ones(batch, 1, 2, 2))
    return module, graph, list(calls(graph, CONV))


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_the_largest_magnitude_over_all_images(batch):
    """Also where the images do not fill the last batch, or not even the first."""
    module, graph, nodes = watched(batch)
    images = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    images[4] = -50.0
    expected = float(module(images).abs().max())
    assert largest(graph, nodes, images) == [pytest.approx(expected, rel=1e-6)]


def test_nothing_watched_is_nothing_run():
    _, graph, _ = watched(1)
    assert largest(graph, [], torch.full((1, 7, 3, 3), math.nan)) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_nan_on_any_image_is_the_answer(place):
    _, graph, nodes = watched(1)
    images = torch.ones(3, 1, 2, 2)
    images[place, 0, 1, 1] = math.nan
    assert math.isnan(largest(graph, nodes, images)[0])


def test_an_infinity_is_the_answer():
    _, graph, nodes = watched(1)
    assert largest(graph, nodes, torch.full((1, 1, 2, 2), math.inf)) == [math.inf]
