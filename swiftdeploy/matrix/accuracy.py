"""How often each artifact of a bundle is right on labelled images, as a run's report holds it."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.evaluation.report import ORACLE
from swiftdeploy.pipeline.evaluate import EvaluationRequest, evaluate
from swiftdeploy.runs import Accuracy


def accuracy_of(
    path: Path, images: Path, *, checkpoint: str | None = None, model: str | None = None
) -> tuple[Accuracy, ...]:
    """Top-1 and top-5 of every artifact of the bundle at `path`, as shares of all images.

    With its `checkpoint` also the oracle's; `model` is named where its code is outside the catalog. Raises as
    `evaluate` does.
    """
    report = evaluate(EvaluationRequest(bundle=path, images=images, checkpoint=checkpoint, model=model))
    return tuple(
        Accuracy(
            artifact="" if row.figures.subject == ORACLE else row.figures.subject,
            images=row.figures.top1.of,
            top1=row.figures.top1.count / row.figures.top1.of,
            top5=row.figures.top5.count / row.figures.top5.of if row.figures.top5 is not None else None,
        )
        for row in report.rows
    )
