import math

import numpy as np
import pytest

from swiftdeploy.parity import metrics


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((4, 7)).astype(np.float32)
    return reference, (reference + 0.01 * generator.standard_normal((4, 7))).astype(np.float32)


def test_psnr_by_definition(pair):
    reference, candidate = (a.astype(np.float64) for a in pair)
    rmse = math.sqrt(float(np.mean((candidate - reference) ** 2)))
    assert metrics.psnr_db(*pair) == pytest.approx(20 * math.log10(np.abs(reference).max() / rmse), abs=1e-9)
    assert metrics.psnr_db(*pair, peak=10.0) == pytest.approx(20 * math.log10(10.0 / rmse), abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([10.0, 0.0], [10.0, 0.0], math.inf),
        ([10.0, 0.0], [11.0, 1.0], 20.0),  # rmse 1 under a peak of 10
        ([-100.0, 0.0], [-100.0, 0.1414213562], 60.0),  # rmse 0.1 under 100: the peak is a magnitude
        ([0.0, 0.0], [0.0, 0.0], math.inf),
        ([0.0, 0.0], [0.0, 1e-9], -math.inf),
        ([], [], math.inf),
    ],
)
def test_psnr_by_hand(reference, candidate, expected):
    assert metrics.psnr_db(np.array(reference), np.array(candidate)) == pytest.approx(expected, abs=1e-6)


def test_relative_l2(pair):
    expected = np.linalg.norm((pair[1] - pair[0]).astype(np.float64)) / np.linalg.norm(pair[0].astype(np.float64))
    assert metrics.relative_l2(*pair) == pytest.approx(float(expected), rel=1e-6)
    assert metrics.relative_l2(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert metrics.relative_l2(np.zeros(2), np.zeros(2)) == 0.0
    assert metrics.relative_l2(np.zeros(2), np.ones(2)) == math.inf


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 0], [0, 1], 0.0),
        ([1, 0], [-2, 0], -1.0),
        ([1, 1], [1, 0], math.sqrt(0.5)),
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [1, 0], 0.0),
        ([[1, 2], [3, 4]], [[2, 4], [6, 8]], 1.0),
    ],
)
def test_cosine(a, b, expected):
    assert metrics.cosine(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected)


def test_cosine_never_leaves_its_range():
    value = np.full(1000, 0.1, np.float32)
    assert metrics.cosine(value, value * 3) <= 1.0


def test_max_abs():
    assert metrics.max_abs(np.array([1.0, -5.0]), np.array([1.5, -7.0])) == 2.0
    assert metrics.max_abs(np.array([]), np.array([])) == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_differences_are_taken_in_float64(dtype):
    """60000 - (-60000) leaves fp16; its square leaves fp32 no room."""
    reference, candidate = np.array([60000.0], dtype), np.array([-60000.0], dtype)
    assert metrics.max_abs(reference, candidate) == pytest.approx(120000.0, rel=1e-3)
    assert metrics.psnr_db(reference, candidate) == pytest.approx(20 * math.log10(0.5), rel=1e-6)


SCORES = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("candidate", "k", "agrees"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 1, True),
        ([4.4, 4.6, 3.0, 2.0, 1.0, 0.0], 1, False),  # margin 1, largest error 0.6: more than the error explains
        ([4.0, 5.0, 3.0, 2.0, 1.0, 0.0], 1, True),  # margin 1, error 1
        ([4.0, 5.0, 3.0, 2.0, 1.0, 0.0], 5, True),  # the order within the best five is not asked for
        ([5.0, 4.0, 3.0, 2.0, 0.4, 0.6], 5, False),
        ([5.0, 4.0, 3.0, 2.0, 0.0, 1.0], 5, True),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3, True),  # error 5 explains anything: PSNR fails such a thing
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 99, True),
    ],
)
def test_best_k(candidate, k, agrees):
    assert metrics.top_k_agrees(SCORES, np.array(candidate), k) is agrees
