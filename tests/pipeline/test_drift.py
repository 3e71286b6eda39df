import dataclasses

import numpy as np
import pytest

from swiftdeploy.errors import BudgetError
from swiftdeploy.pipeline.drift import measure, refuse_drift
from swiftdeploy.spec import ExportOptions

ORACLE = {"logits": np.array([[4.0, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0], [0, 0, 4, 0, 0, 0], [0, 0, 0, 4, 0, 0]])}


def found(**changes):
    logits = ORACLE["logits"].copy()
    for row, values in changes.items():
        logits[int(row.removeprefix("row"))] = values
    return {"logits": logits}


def drift(answer, *, own=2, **budgets):
    options = ExportOptions(precisions=("int8",), **budgets)
    return measure(ORACLE, answer, own=own, options=options)


def test_figures_by_hand():
    answer = found(row0=[4, 0.4, 0, 0, 0, 0], row3=[0, 0, 5, 4, 0, 0])
    got = drift(answer)
    ours, theirs = got.samples[0], got.images[0]
    assert (ours.samples, theirs.samples) == (2, 2)
    # 12 values, one off by 0.4: rmse 0.4 / sqrt(12), against a peak of 4.
    assert ours.psnr_db == pytest.approx(20 * np.log10(4 / (0.4 / np.sqrt(12))))
    assert ours.worst_psnr_db == pytest.approx(20 * np.log10(4 / (0.4 / np.sqrt(6))))
    assert (ours.top1, theirs.top1, theirs.top5) == (1.0, 0.5, 1.0)
    assert got.judged == got.images


def test_equal_answers_have_no_psnr():
    got = drift(found(), own=4)
    assert (got.samples[0].psnr_db, got.images, got.judged) == (None, (), got.samples)
    refuse_drift("a", dataclasses.replace(got, max_drift_db=200.0, min_agreement=100.0))


def test_a_flip_next_to_a_tie_counts_too():
    """Fidelity excuses a flip within the error; drift is a cost, and does not."""
    assert drift(found(row0=[4, 4.001, 0, 0, 0, 0])).samples[0].top1 == 0.5


def test_budgets():
    answer = found(row3=[0, 0, 5, 4, 0, 0])
    refuse_drift("a", drift(answer))
    refuse_drift("a", drift(answer, max_drift_db=5.0, min_agreement=50.0))
    with pytest.raises(BudgetError, match=r"a drifts: logits has .* dB on the given images, the budget is 30 dB"):
        refuse_drift("a", drift(answer, max_drift_db=30.0))
    with pytest.raises(BudgetError, match=r"the oracle's on 50.0 % of the given images, the budget is 99 %"):
        refuse_drift("a", drift(answer, min_agreement=99.0))
    with pytest.raises(BudgetError, match=r"75.0 % of our own samples"):
        refuse_drift("a", drift(answer, own=4, min_agreement=99.0))
