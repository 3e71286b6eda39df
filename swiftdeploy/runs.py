"""What a finished `swiftdeploy run` found: `run.json`, schema 1, as a frozen value. Standard library only.

Reports are rendered from this value alone, and a later run may take it as its baseline. What is measured in seconds or
bytes of memory is for people: no decision depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import ParityReport, Provenance, RewriteRecord, Verdict
from swiftdeploy.seal import canonical, sealed
from swiftdeploy.spec import TensorSpec, from_plain, to_plain

SCHEMA_VERSION = 1
REPORT_NAME = "run.json"
SIZE_LIMIT = 1 << 28  # bytes; a matrix of a hundred models has some 10 MB

JobStatus = Literal["passed", "cached", "failed", "skipped"]
CheckVerdict = Literal["pass", "warn", "fail", "skip"]
CacheState = Literal["hit", "miss", "off"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One question that was asked of one artifact, or of the whole bundle (`subject` is then empty).

    `name` is "export", "integrity", "parity.<leg>" or "budget.<key>.<limit>", such as "budget.size.max". `value` and
    `limit` are in `unit` ("bytes", "dB", "share", "ms", "findings", "tensors"); `limit` is what the value is held to, a
    baseline's share already multiplied out. A value is None where nothing was measured, and for parity where all
    outputs are equal to the bit. `exit_code` is what a failure of this check alone would end the run with.
    """

    name: str
    subject: str
    verdict: CheckVerdict
    message: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a job has no bundle: the stage that stopped, and the error as the command line would show it."""

    stage: str
    kind: str
    fact: str
    hint: str
    exit_code: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheOutcome:
    """Whether the bundle came from the cache; for a miss the reason. `key` is empty where there is no cache."""

    state: CacheState
    reason: str
    key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactSummary:
    """One artifact of a bundle, from its manifest. `ops` are the written artifact's, by operator."""

    path: str
    target: str
    precision: str
    bytes: int
    sha256: str
    ops: Mapping[str, int]
    parity: ParityReport | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """A stored result of a device: the median of the rounds' medians in milliseconds, of one artifact on one unit.

    `device` is the hardware's identifier and its system, such as "iPhone14,7, iOS 18.1 (22B83)".
    """

    artifact: str
    device: str
    unit: str
    median_ms: float
    p95_ms: float
    launch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Right answers of the oracle (`artifact` is then empty) or of one artifact on a labelled set, as shares."""

    artifact: str
    images: int
    top1: float
    top5: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleSummary:
    """What reports show of a bundle. All but `accuracy` and `latency` is its manifest's.

    `tool` are the versions that made the bundle, which for a cached one are those of the run that made it;
    `ops_before` and `ops_after` count the captured graph's calls around fusing.
    """

    tool: Mapping[str, str]
    model: str
    family: str
    attention: str
    parameters: int
    provenance: Provenance
    input_kind: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bytes: int
    tree_sha256: str
    seal: str
    ops_before: Mapping[str, int]
    ops_after: Mapping[str, int]
    fusion: tuple[RewriteRecord, ...]
    fusion_parity: ParityReport | None
    artifacts: tuple[ArtifactSummary, ...]
    placement: tuple[Mapping[str, Any], ...] = ()
    latency: tuple[Latency, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobReport:
    """One model's bundle. "cached" has passed as well; "skipped" was never started, because the run was stopped.

    `options` are `spec.ExportOptions`, `artifacts` what they ask for, such as "coreml fp16". `bundle` is the folder
    that was written, relative to the configuration's, and empty where none was: a job that fails a budget alone has
    its bundle, one with a `failure` has not. `baseline` is what the checks compared with.
    """

    name: str
    model: str
    checkpoint: str
    options: Mapping[str, Any]
    artifacts: tuple[str, ...]
    status: JobStatus
    exit_code: int
    cache: CacheOutcome
    bundle: str = ""
    summary: BundleSummary | None = None
    baseline: BundleSummary | None = None
    checks: tuple[Check, ...] = ()
    failure: Failure | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Sums over all jobs. `seconds` is the run's wall time; `exit_code` the most severe of all (see `errors`)."""

    jobs: int
    passed: int
    cached: int
    failed: int
    skipped: int
    checks: Mapping[str, int]
    seconds: float
    peak_memory_bytes: int | None
    exit_code: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """A whole run. `tool` are the versions that ran; `config` and `baseline` are named as they were given.

    `seal` is over the text of all else, and set by `encode_run`: a value made in code has none.
    """

    schema: Literal[1]
    tool: Mapping[str, str]
    config: str
    executor: str
    baseline: str
    jobs: tuple[JobReport, ...]
    totals: Totals
    seal: str = field(default="", compare=False)

    def job(self, name: str) -> JobReport | None:
        """The job of that name, None where the run had none."""
        return next((job for job in self.jobs if job.name == name), None)


def encode_run(report: RunReport) -> str:
    """The report's canonical, sealed text."""
    # Names of files may hold what UTF-8 cannot, and a seal is over bytes: what the file will hold is sealed.
    text = canonical(to_plain(report)).encode("utf-8", "replace").decode()
    return sealed(json.loads(text))


def read_run(path: Path) -> RunReport:
    """The report in a file, or in a folder's run.json.

    Raises ArtifactError where there is none, where it is damaged, and where a figure in it was changed.
    """
    file = path / REPORT_NAME if path.is_dir() else path
    try:
        if file.stat().st_size > SIZE_LIMIT:
            raise ValueError(f"{file.stat().st_size} bytes are more than a report has")
        text = file.read_text(encoding="utf-8")
        plain = json.loads(text)
        version = plain.get("schema") if isinstance(plain, dict) else None
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ValueError(f"schema {version!r}, this version reads {SCHEMA_VERSION}")
        report = from_plain(RunReport, plain)
        if sealed(plain) != text:
            raise ValueError("it was changed after it was written")
        return report
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise ArtifactError(f"{file} is no run's report: {reason[:300]}", hint="name the run.json of a run") from error


def count(verdicts: Iterable[CheckVerdict | Verdict]) -> dict[str, int]:
    """How many verdicts there are of each kind, all four kinds always present."""
    found = list(verdicts)
    return {kind: found.count(kind) for kind in ("pass", "warn", "fail", "skip")}
