"""Figures against scipy's and numpy's own."""

import numpy as np
import pytest
from scipy.stats import binomtest

from swiftdeploy.evaluation.answers import Answer, Given, given
from swiftdeploy.evaluation.statistics import differences, figures, mcnemar, share


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 360), (360, 360), (357, 360), (1, 3), (500, 1000)])
def test_wilson(count, of):
    expected = binomtest(count, of).proportion_ci(0.95, method="wilson")
    found = share(count, of)
    assert (found.percent, found.low, found.high) == pytest.approx(
        (100 * count / of, 100 * expected.low, 100 * expected.high), abs=1e-9
    )
    assert 0 <= found.low <= found.percent <= found.high <= 100


@pytest.mark.parametrize(("count", "of"), [(1, 0), (-1, 3), (4, 3)])
def test_no_share(count, of):
    with pytest.raises(ValueError, match="no share"):
        share(count, of)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0), (3, 3), (2, 9), (0, 20), (1200, 1100)])
def test_mcnemar(a, b):
    assert mcnemar(a, b) == pytest.approx(binomtest(min(a, b), a + b).pvalue, rel=1e-9)


def test_mcnemar_of_nothing():
    assert mcnemar(0, 0) == 1.0


def made(rows, labels):
    """Answers of subject "a" (the reference) and "b" with scores of `rows` [(a, b), ...]."""
    return [
        Answer(name=f"{i}.png", label=label, given={"a": given(a, a), "b": given(b, a)})
        for i, ((a, b), label) in enumerate(zip(rows, labels, strict=True))
    ]


def test_against_numpy():
    generator = np.random.Generator(np.random.PCG64(3))
    a = generator.standard_normal((200, 12)).astype(np.float32)
    b = (a + 0.5 * generator.standard_normal((200, 12))).astype(np.float32)
    labels = (a + generator.standard_normal((200, 12))).argmax(1)
    answers = made(list(zip(a, b, strict=True)), labels.tolist())
    for name, scores in (("a", a), ("b", b)):
        found = figures(answers, name, "a", classes=12)
        assert found.top1.count == (scores.argmax(1) == labels).sum()
        assert found.top5.count == (np.argsort(-scores, 1)[:, :5] == labels[:, None]).any(1).sum()
        assert found.not_finite == 0
    beside = found.against
    assert beside.agreement.count == (a.argmax(1) == b.argmax(1)).sum() < 200
    right_a, right_b = a.argmax(1) == labels, b.argmax(1) == labels
    assert (beside.only_reference, beside.only_subject) == ((right_a & ~right_b).sum(), (right_b & ~right_a).sum())
    assert beside.only_reference > 0 < beside.only_subject
    error, peak = np.square(b.astype(np.float64) - a), np.abs(a).max()
    assert beside.drift.psnr_db == pytest.approx(20 * np.log10(peak / np.sqrt(error.mean())))
    assert beside.drift.worst_db == pytest.approx(20 * np.log10(peak / np.sqrt(error.mean(1).max())))
    assert beside.drift.worst_image == f"{error.mean(1).argmax()}.png"
    differing = np.flatnonzero(a.argmax(1) != b.argmax(1))
    assert [d.name for d in differences(answers)] == [f"{i}.png" for i in differing]
    first = differences(answers)[0]
    assert first.best == {"a": a[differing[0]].argmax(), "b": b[differing[0]].argmax()}
    assert figures(answers, "a", "a", classes=12).against is None


def test_equal_scores_have_no_drift():
    scores = np.float32([[1, 2, 3]])
    found = figures(made([(scores[0], scores[0])], [2]), "b", "a", classes=3)
    assert (found.against.drift.psnr_db, found.against.drift.worst_db) == (None, None)
    assert (found.top1.count, found.top5) == (1, None)  # five of three classes would always be right


def test_nan_is_wrong_and_counted():
    good, bad = np.float32([1, 2, 3]), np.float32([1, np.nan, 9])
    found = figures(made([(good, bad), (good, good)], [2, 2]), "b", "a", classes=3)
    assert (found.not_finite, found.top1.count) == (1, 1)
    assert (found.against.agreement.count, found.against.only_reference) == (1, 1)
    assert differences(made([(good, bad)], [2]))[0].best == {"a": 2, "b": -1}


def test_both_nan_is_no_agreement():
    bad = np.float32([np.inf, 0])
    assert given(bad, bad) == Given(best=(), squared_error=0.0, peak=0.0, scores=2)
    found = figures(made([(bad, bad)], [0]), "b", "a", classes=2)
    assert found.against.agreement.count == 0
    assert differences(made([(bad, bad)], [0]))[0].best == {"a": -1, "b": -1}


def test_ties_go_to_the_first_class_as_numpys_argmax_says():
    assert given(np.float32([1, 2, 2]), np.float32([1, 2, 2])).best == (1, 2, 0)
