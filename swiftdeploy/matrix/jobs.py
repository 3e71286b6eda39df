"""One model's bundle to be made, and what came of it: the values that travel to workers and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swiftdeploy.errors import (
    ArtifactError,
    BudgetError,
    CheckpointError,
    ConfigError,
    ConversionError,
    ModelError,
    ParityError,
    SwiftdeployError,
)
from swiftdeploy.matrix.cache import Cache, Made
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.runs import CacheOutcome, Failure

# Where an error that names no stage of its own must come from.
_STAGES: Mapping[type[SwiftdeployError], str] = {
    ConfigError: "plan",
    CheckpointError: "load",
    ModelError: "load",
    ConversionError: "convert",
    ParityError: "verify",
    BudgetError: "verify",
    ArtifactError: "bundle",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a worker needs to make one bundle. `parts` and `key` are its fingerprint, `sha256` the pin of the file.

    `checkpoint` is what the configuration says, `folder` where its own modules lie; `judged_on` are the images that
    accuracy is measured on. `memory` is how many bytes the job may take.
    """

    name: str
    checkpoint: str
    request: ExportRequest
    folder: Path
    parts: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    sha256: str | None = None
    cache: Cache | None = None
    judged_on: Path | None = None
    memory: int = 0

    @property
    def artifacts(self) -> tuple[str, ...]:
        """What will be made, such as "coreml fp16"."""
        return tuple(f"{target} {precision}" for target, precision in self.request.options.matrix)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a job: what its making found, or why it failed."""

    name: str
    cache: CacheOutcome
    made: Made | None = None
    failure: Failure | None = None


def failure_of(error: SwiftdeployError, stage: str = "") -> Failure:
    """An error as a report holds it."""
    found = error.stage or stage or next((s for kind, s in _STAGES.items() if isinstance(error, kind)), "run")
    return Failure(stage=found, kind=type(error).__name__, fact=error.fact, hint=error.hint, exit_code=error.exit_code)


def failed(job: Job, failure: Failure, cache: CacheOutcome) -> Outcome:
    """The outcome of a job that has no bundle."""
    return Outcome(name=job.name, cache=cache, failure=failure)


def bug_of(error: BaseException) -> Failure:
    """An exception that is none of ours: exit code 1, as on the command line."""
    fact = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(
        stage="run", kind="Bug", fact=fact[:500], hint="this is a bug: report it with the traceback", exit_code=1
    )


def died(name: str, how: str) -> Failure:
    """The failure of a job whose worker ended without an answer."""
    return Failure(
        stage="run",
        kind="WorkerDied",
        fact=f"the worker of {name} {how}",
        hint="memory may have run out: use --memory or --jobs 1, or give the machine more",
        exit_code=8,
    )
