"""Oracle: non-maximum suppression as three nested loops over plain numbers."""

import numpy as np
import pytest

RNG = np.random.default_rng(3)
CENTRES, SIZES = RNG.uniform(0, 10, (2, 24, 2)), RNG.uniform(1, 5, (2, 24, 2))
BOXES = np.concatenate([CENTRES, SIZES], -1).astype(np.float32)
SCORES = RNG.uniform(0, 1, (2, 24, 3)).astype(np.float32)


def overlap(a, b):
    sides = [
        max(0.0, min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2))
        for i in (0, 1)
    ]
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def by_hand(boxes, scores, iou, least, most, per_class):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i].max()):
        rivals = [k for k in kept if not per_class or scores[k].argmax() == scores[index].argmax()]
        if scores[index].max() >= least and all(overlap(boxes[k], boxes[index]) <= iou for k in rivals):
            kept.append(index)
    return kept[:most]


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(("iou", "least", "most"), [(0.2, 0.5, 30), (0.5, 0.7, 3), (0.9, 0.0, 24), (0.1, 2.0, 4)])
def test_before_ios17(predict, iou, least, most, per_class):
    def graph(mb, a, b):
        return mb.non_maximum_suppression(
            boxes=a, scores=b, iou_threshold=iou, score_threshold=least, max_boxes=most, per_class_suppression=per_class
        )

    boxes, scores, indices, counts = predict(graph, [BOXES, SCORES], ops=["non_maximum_suppression"])
    for item in range(2):
        kept = by_hand(BOXES[item], SCORES[item], iou, least, most, per_class)
        assert counts[item] == len(kept)
        assert indices[item].tolist() == kept + [-1] * (most - len(kept))
        assert np.array_equal(boxes[item, : len(kept)], BOXES[item, kept])
        assert np.array_equal(scores[item, : len(kept)], SCORES[item, kept])
        assert not boxes[item, len(kept) :].any()
        assert not scores[item, len(kept) :].any()


def test_since_ios17_the_boxes_are_the_last_axis(predict):
    hidden = SCORES.copy()
    hidden[0, 5] = -np.inf

    def graph(mb, a, b):
        return mb.non_maximum_suppression(boxes=a, scores=b, iou_threshold=0.3, max_boxes=24)

    turned = [np.ascontiguousarray(array.transpose(0, 2, 1)) for array in (BOXES, hidden)]
    boxes, scores, indices = predict(graph, turned, ios=17, ops=["non_maximum_suppression"])
    for item in range(2):
        kept = list(by_hand(BOXES[item], hidden[item], 0.3, -1e30, 24, per_class=False))
        assert 5 not in kept or item
        assert indices[item].tolist() == kept + [-1] * (24 - len(kept))
        assert np.array_equal(boxes[item, :, : len(kept)], BOXES[item, kept].T)
        assert np.array_equal(scores[item, :, : len(kept)], hidden[item, kept].T)
