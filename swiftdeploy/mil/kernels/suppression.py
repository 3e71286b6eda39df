"""Non-maximum suppression, in both layouts. Source: Apple's MIL op reference, `tensor_operation`.

Boxes are (centre x, centre y, width, height). A box's class is that of its greatest score; boxes are taken in
descending order of that score (the first of equals first), and each taken box removes those whose intersection over
union with it exceeds the threshold, with `per_class_suppression` only those of its own class. The reference does not
say what pads the answer: here boxes and scores are 0 and indices -1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_boxes: int,
    per_class_suppression: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (n, max_boxes, 4), scores (n, max_boxes, classes), indices (n, max_boxes) and how many, each item its own.

    `boxes` is (n, b, 4), `scores` (n, b, classes); a box whose best score is below `score_threshold` is never taken.
    """
    kept = [
        _kept(b, s, iou_threshold, score_threshold, max_boxes, per_class=per_class_suppression)
        for b, s in zip(boxes, scores, strict=True)
    ]
    indices = torch.full((len(kept), max_boxes), -1, dtype=torch.int32)
    chosen_boxes = boxes.new_zeros((len(kept), max_boxes, 4))
    chosen_scores = scores.new_zeros((len(kept), max_boxes, scores.shape[2]))
    for item, index in enumerate(kept):
        indices[item, : len(index)] = index.to(torch.int32)
        chosen_boxes[item, : len(index)] = boxes[item, index]
        chosen_scores[item, : len(index)] = scores[item, index]
    return chosen_boxes, chosen_scores, indices, torch.tensor([len(index) for index in kept], dtype=torch.int32)


def non_maximum_suppression_ios17(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int, per_class_suppression: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, 4, max_boxes), scores (n, classes, max_boxes) and indices (n, max_boxes), without a score threshold.

    A score of minus infinity still keeps its box out, as converters write the threshold since iOS17.
    """
    least = torch.finfo(torch.float32).min
    chosen, best, indices, _ = non_maximum_suppression(
        boxes.transpose(1, 2), scores.transpose(1, 2), iou_threshold, least, max_boxes, per_class_suppression
    )
    return chosen.transpose(1, 2), best.transpose(1, 2), indices


def _kept(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, max_boxes: int, *, per_class: bool
) -> Tensor:
    best, classes = scores.max(dim=1)
    order = torch.argsort(best, descending=True, stable=True)
    order = order[best[order] >= score_threshold]
    kept: list[int] = []
    while len(order) and len(kept) < max_boxes:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        overlapping = _iou(boxes[first], boxes[rest]) > iou_threshold
        if per_class:
            overlapping &= classes[rest] == classes[first]
        order = rest[~overlapping]
    return torch.tensor(kept, dtype=torch.int64)


def _iou(box: Tensor, others: Tensor) -> Tensor:
    low = torch.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = torch.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(dim=1)
    union = box[2:].prod() + others[:, 2:].prod(dim=1) - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(union))


KERNELS = (
    kernel(non_maximum_suppression),
    kernel(non_maximum_suppression_ios17, op="non_maximum_suppression", since="CoreML7"),
)
