"""What came out: key reports, fusion ledgers, parity, provenance, files, as frozen values.

These are what the manifest holds and what the command line renders. Standard library only; `spec` has the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from swiftdeploy.recipe import Recipe

Verdict = Literal["pass", "warn", "fail"]
Eligibility = Literal["eligible", "risky", "ineligible"]
Severity = Literal["error", "warning", "note"]
Origin = Literal["Apple", "reported", "community"]
Confidence = Literal["high", "medium", "low"]


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
class KeptOp:
    """One op of an fp16 package that computes in fp32.

    `place` is the torch module that it comes from, where known. `alone_db` is the worst PSNR in dB with this op in fp16
    and all others in fp32: None for NaN, Inf or another class.
    """

    name: str
    op: str
    place: str
    reason: str
    alone_db: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MixedPrecision:
    """What `--precision auto` found: the ops kept in fp32, and what the package would be without them.

    `fp16_bytes`, `fp16_verdict` and `fp16_reason` are those of the plain fp16 package; `half_interface` says whether
    the inputs and outputs are fp16; `trials` counts the sets of ops that were tried.
    """

    kept: tuple[KeptOp, ...]
    half_interface: bool
    fp16_bytes: int
    fp16_verdict: Verdict
    fp16_reason: str
    trials: int


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
    """One weight that is not compressed, and why."""

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

    `recipe` makes the same artifact again. `base_bytes` is the size of what was compressed: Core ML's fp16 package,
    ONNX's fp32 file. `golden` has the answers of the module with the decompressed weights (for quantised activations,
    of the fake-quantised module, or of the ONNX graph as written); an artifact passes from `passes_db` and fails below
    `fails_db`. `floating` are the nodes of an ONNX graph that compute in float, with the reason.
    """

    recipe: Recipe
    base_bytes: int
    tensors: tuple[CompressedTensor, ...]
    kept: tuple[KeptTensor, ...]
    golden: str
    passes_db: float
    fails_db: float
    calibration: CalibrationRecord | None = None
    floating: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file of a bundle: POSIX path relative to the bundle, size in bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One place where a rule fired: the op (or input, state; empty for the package as a whole) and what was found."""

    op: str
    type: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A placement rule that fired: what it says, who says so, what to do, and every place where it did."""

    rule: str
    severity: Severity
    says: str
    origin: Origin
    source: str
    confidence: Confidence
    remedy: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A run of ops, in program order, of one verdict: the names of the first and the last, and how many."""

    verdict: Eligibility
    first: str
    last: str
    ops: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """What an ONNX Runtime execution provider takes of a model, by its documentation.

    `nodes` are all nodes that compute, `taken` those that the provider accepts, in `partitions` pieces. `declined`
    counts the others by op type and reason.
    """

    provider: str
    source: str
    nodes: int
    taken: int
    partitions: int
    declined: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one prediction costs, worked out from the artifact: nothing is measured.

    `macs` are multiply-accumulates of convolutions, matrix products and attention; `weight_bytes` what lies on disk,
    compressed where it is; `activation_bytes` what ops read and write at the declared dtypes. `intensity` is MACs per
    byte of both. `unsized` counts ops with a size that only a run knows: of them only weights count.
    """

    macs: int
    weight_bytes: int
    activation_bytes: int
    intensity: float
    unsized: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OpCost:
    """One op's cost. Weights that several ops read count in each of them, and once in the total."""

    op: str
    type: str
    cost: Cost


@dataclass(frozen=True, kw_only=True, slots=True)
class EnginePrediction:
    """Whether the Neural Engine may take a Core ML program, by the rules that are known of it.

    `verdict` is the worst of all ops and of the package. `ops` counts ops by verdict, `severities` hits by severity,
    `layout_ops` ops that only move values; `fp16_share` is the share of float ops that answer in fp16; `switches` says
    how often the verdict changes along the program.
    """

    verdict: Eligibility
    ops: Mapping[str, int]
    severities: Mapping[str, int]
    layout_ops: int
    fp16_share: float
    findings: tuple[Finding, ...]
    segments: tuple[Segment, ...]
    switches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementRecord:
    """A prediction, from one artifact alone, of what may run where, and of what it costs.

    A Core ML package has a `neural_engine`, an ONNX file has `providers`.
    """

    artifact: str
    neural_engine: EnginePrediction | None
    providers: tuple[Coverage, ...]
    cost: Cost
