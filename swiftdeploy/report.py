"""What came out: key reports, fusion ledgers, parity, provenance, files, as frozen values.

These are what the manifest holds and what the command line renders. Standard library only; `spec` has the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from swiftdeploy.recipe import Recipe

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
    """One of the three legs of parity: "outputs", "stress" or "weights"."""

    name: Literal["fusion", "outputs", "stress", "weights", "golden"]
    verdict: Verdict
    outputs: tuple[OutputParity, ...] = ()
    weights: WeightParity | None = None
    divergence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDrift:
    """How far one output of a compressed artifact is from the original oracle's: a cost, and no fault.

    `psnr_db` is over all samples together, `worst_psnr_db` that of the worst one; None where all are equal to the bit.
    `top1` and `top5` are the shares of samples on which the best class is the oracle's, and the oracle's best class is
    among the best five; None where the output is no vector of scores.
    """

    name: str
    psnr_db: float | None
    worst_psnr_db: float | None
    relative_l2: float
    cosine: float
    samples: int
    top1: float | None = None
    top5: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """What compression costs: on our own samples, and on the user's images where some were given.

    The budgets are what the export was asked to hold: least PSNR in dB, least agreement of the best class in percent.
    """

    samples: tuple[OutputDrift, ...]
    images: tuple[OutputDrift, ...] = ()
    max_drift_db: float | None = None
    min_agreement: float | None = None

    @property
    def judged(self) -> tuple[OutputDrift, ...]:
        """What a person decides by: their own images, or else our samples."""
        return self.images or self.samples


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityReport:
    """Every leg of one artifact, or of the fused module against the oracle.

    A compressed artifact's legs compare it with the module that has its decompressed weights; `drift` with the oracle.
    """

    subject: str
    precision: str
    gate_db: float
    legs: tuple[Leg, ...]
    drift: Drift | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all legs; no leg at all is a failure."""
        verdicts = {leg.verdict for leg in self.legs}
        if "fail" in verdicts or not verdicts:
            return "fail"
        return "warn" if "warn" in verdicts else "pass"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressedTensor:
    """One compressed weight: its scheme, bytes before and after, and how far its values moved.

    `group` is the number of channels that share a table, or int4's block; 0 where the scheme has none. `psnr_db` is
    None where no value moved.
    """

    name: str
    scheme: str
    group: int
    shape: tuple[int, ...]
    bytes_before: int
    bytes_after: int
    psnr_db: float | None
    relative_l2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptTensor:
    """One weight that stays in fp16, and why."""

    name: str
    reason: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationRecord:
    """The images that activations were calibrated on: how many, and one sha256 over their pixels in order."""

    images: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionRecord:
    """How an artifact's weights are stored, tensor by tensor, and what its outputs are held to.

    `recipe` makes the same artifact again. `base_bytes` is the size of the fp16 package that was compressed. `golden`
    has the answers of the module with the decompressed weights (or, for quantised activations, the fake-quantised
    module); an artifact passes from `passes_db` and fails below `fails_db`.
    """

    recipe: Recipe
    base_bytes: int
    tensors: tuple[CompressedTensor, ...]
    kept: tuple[KeptTensor, ...]
    golden: str
    passes_db: float
    fails_db: float
    calibration: CalibrationRecord | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file of a bundle: POSIX path relative to the bundle, size in bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str
