"""Answers become figures: accuracy with its interval, agreement, what two subjects disagree on, and drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swiftdeploy.evaluation.answers import RANKS, Answer

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """`count` images of `of`, in percent, with Wilson's 95 % interval."""

    count: int
    of: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How far scores are from the reference's, in dB of PSNR; None where they are equal to the bit.

    `psnr_db` is over all scores of all images, `worst_db` that of the worst image; both hold the error against the
    reference's largest score of the whole set, as parity does.
    """

    psnr_db: float | None
    worst_db: float | None
    worst_image: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """A subject beside the reference: on how many images both answer alike, and where only one of them is right.

    `p_value` is McNemar's exact test, two-sided: how often chance alone divides the images that only one of the two
    gets right at least as unevenly.
    """

    agreement: Share
    only_reference: int
    only_subject: int
    p_value: float
    drift: Drift


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One subject over a data set. `top5` is None where a model has no more than five classes.

    `not_finite` images were answered with NaN or Inf, which counts as wrong. `against` is None for the reference.
    """

    subject: str
    top1: Share
    top5: Share | None
    not_finite: int
    against: Against | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """An image that not all subjects answer alike: the best class by subject, -1 for NaN or Inf."""

    name: str
    label: int
    best: Mapping[str, int]


def figures(answers: Sequence[Answer], subject: str, reference: str, *, classes: int) -> Figures:
    """The figures of one subject over the answers, none of which may be unreadable."""
    mine = [answer.given[subject] for answer in answers]
    hits = sum(answer.label in g.best[:1] for answer, g in zip(answers, mine, strict=True))
    near = sum(answer.label in g.best for answer, g in zip(answers, mine, strict=True))
    return Figures(
        subject=subject,
        top1=share(hits, len(answers)),
        top5=share(near, len(answers)) if classes > RANKS else None,
        not_finite=sum(not g.best for g in mine),
        against=None if subject == reference else _against(answers, subject, reference),
    )


def differences(answers: Sequence[Answer]) -> tuple[Difference, ...]:
    """The images on which the subjects do not all answer alike."""
    found = []
    for answer in answers:
        best = {name: g.best[0] if g.best else -1 for name, g in answer.given.items()}
        if len(set(best.values())) > 1 or -1 in best.values():
            found.append(Difference(name=answer.name, label=answer.label, best=best))
    return tuple(found)


def share(count: int, of: int) -> Share:
    """A share with Wilson's score interval (Wilson 1927), which keeps within 0 and 100 % and holds for few images."""
    if of < 1 or not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is no share")
    p, z2 = count / of, Z_95 * Z_95
    centre = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    # At 0 and at all of them the bound is exact, and floating point need not land on it.
    low = 0.0 if count == 0 else 100 * (centre - half)
    high = 100.0 if count == of else 100 * (centre + half)
    return Share(count=count, of=of, percent=100 * p, low=low, high=high)


def mcnemar(a: int, b: int) -> float:
    """The exact two-sided p of a against b discordant pairs (McNemar 1947): both sides equally likely, min(1, 2 P)."""
    total = a + b
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(min(a, b) + 1))
    return min(1.0, 2 * tail / 2**total)  # whole numbers, however large, until the last division


def _against(answers: Sequence[Answer], subject: str, reference: str) -> Against:
    pairs = [(answer, answer.given[subject], answer.given[reference]) for answer in answers]
    alike = sum(mine.best[:1] == theirs.best[:1] != () for _, mine, theirs in pairs)
    right = [(answer.label in mine.best[:1], answer.label in theirs.best[:1]) for answer, mine, theirs in pairs]
    only_subject, only_reference = right.count((True, False)), right.count((False, True))
    return Against(
        agreement=share(alike, len(answers)),
        only_reference=only_reference,
        only_subject=only_subject,
        p_value=mcnemar(only_reference, only_subject),
        drift=_drift(answers, subject),
    )


def _drift(answers: Sequence[Answer], subject: str) -> Drift:
    """Over the images that both answer with numbers."""
    rows = [(a.name, a.given[subject]) for a in answers if a.given[subject].best and a.given[subject].peak > 0.0]
    if not rows:
        return Drift(psnr_db=None, worst_db=None, worst_image="")
    peak = max(g.peak for _, g in rows)
    name, worst = max(rows, key=lambda row: row[1].squared_error / row[1].scores)
    mean = math.fsum(g.squared_error for _, g in rows) / sum(g.scores for _, g in rows)
    return Drift(
        psnr_db=_decibels(peak, mean), worst_db=_decibels(peak, worst.squared_error / worst.scores), worst_image=name
    )


def _decibels(peak: float, mean_square: float) -> float | None:
    return 20 * math.log10(peak) - 10 * math.log10(mean_square) if mean_square > 0.0 else None
