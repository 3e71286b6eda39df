"""What came out: key reports, fusion ledgers, parity, provenance, files, as frozen values.

These are what the manifest holds and what the command line renders. Standard library only; `spec` has the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyReport:
    """How a checkpoint's keys met the module's: all of these but `loaded` and `ignored` must be empty."""

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether every key found its place with its shape."""
        return not (self.missing or self.unexpected or self.misshaped)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the weights came from. `weights` is "trained" for a checkpoint, "untrained" for --untrained SEED."""

    weights: Literal["trained", "untrained"]
    source: str
    sha256: str
    format: str
    naming: str = ""
    seed: int | None = None
    conclusions: tuple[str, ...] = ()
    keys: KeyReport = KeyReport(loaded=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RewriteRecord:
    """One rewrite's line in the fusion ledger: where it fired, and where it declined with the reason."""

    name: str
    algebra: str
    fired: tuple[str, ...] = ()
    declined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputParity:
    """How close one output came to the reference, over all samples of one leg.

    `psnr_db` is 20*log10(max|ref| / rmse), with max|ref| over all samples and the rmse of the worst one; None where
    the two are equal to the bit (JSON has no infinity). `top1` and `top5` are shares of samples, None where the output
    is no vector of scores.
    """

    name: str
    psnr_db: float | None
    relative_l2: float
    cosine: float
    max_abs: float
    samples: int
    verdict: Verdict
    top1: float | None = None
    top5: float | None = None
    worst_sample: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightParity:
    """Whether every weight tensor of an artifact is the fused module's, rounded once to its stored dtype."""

    tensors: int
    equal: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """One of the three legs of parity, "outputs", "stress" or "weights", or another check of the same form."""

    name: Literal["fusion", "outputs", "stress", "weights", "golden", "preprocessing"]
    verdict: Verdict
    outputs: tuple[OutputParity, ...] = ()
    weights: WeightParity | None = None
    divergence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityReport:
    """Every leg of one artifact, or of the fused module against the oracle."""

    subject: str
    precision: str
    gate_db: float
    legs: tuple[Leg, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all legs; no leg at all is a failure."""
        verdicts = {leg.verdict for leg in self.legs}
        if "fail" in verdicts or not verdicts:
            return "fail"
        return "warn" if "warn" in verdicts else "pass"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file of a bundle: POSIX path relative to the bundle, size in bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str
