"""Check what was written: a bundle against its golden data, or a lone artifact.

A bundle needs neither the checkpoint nor the model's code: the oracle's answers travel with it, and those of the
decompressed module with a compressed artifact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.bundle import ArtifactRecord, Bundle, artifact_digest, read_bundle
from swiftdeploy.errors import ArtifactError, ParityError, SwiftdeployError
from swiftdeploy.parity import compare
from swiftdeploy.pipeline.feeds import seeded_feeds
from swiftdeploy.pipeline.gates import artifact_gate
from swiftdeploy.report import Leg, ParityReport
from swiftdeploy.runtimes import open_artifact, run_samples

_PROBABILITIES = "classLabel_probs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was checked and how it went. `files` were re-hashed; a lone artifact has none."""

    path: Path
    files: int
    reports: tuple[ParityReport, ...]


def is_bundle(path: Path) -> bool:
    """Whether a path is to be read as a bundle: a folder that is no package."""
    return path.is_dir() and path.suffix != ".mlpackage"


def verify_bundle(path: Path) -> Verification:
    """Re-hash every file, then run every artifact against the golden data.

    Raises ArtifactError for any byte that differs and ParityError for any number that does.
    """
    bundle = hashed(path)
    reports = tuple(_golden(bundle, artifact, *bundle.golden(artifact)) for artifact in bundle.manifest.artifacts)
    failed = [report for report in reports if report.verdict == "fail"]
    if failed:
        leg = next(leg for leg in failed[0].legs if leg.verdict == "fail")
        reasons = [f"{output.name}: {output.reason}" for output in leg.outputs if output.verdict == "fail"]
        raise ParityError(
            f"{failed[0].subject} does not give the oracle's answers: {'; '.join([*reasons[:1], leg.divergence][:1])}",
            hint="the bytes are intact, so a library changed: compare `swiftdeploy doctor` with the manifest",
        )
    return Verification(path=path, files=len(bundle.manifest.files), reports=reports)


def hashed(path: Path) -> Bundle:
    """The bundle at `path`, every byte of it checked. Raises ArtifactError for any that differs, or no artifact."""
    with console.step(f"hashing {path}"):
        bundle = read_bundle(path)
        for artifact in bundle.manifest.artifacts:
            if artifact_digest(bundle.file(artifact.path)) != (artifact.bytes, artifact.sha256):
                raise ArtifactError(
                    f"{artifact.path} is not the artifact that the manifest describes", hint="export again"
                )
    if not bundle.manifest.artifacts:
        raise ArtifactError(f"{path.name} holds no artifact", hint="export again")
    return bundle


def _golden(
    bundle: Bundle, artifact: ArtifactRecord, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]
) -> ParityReport:
    with console.step(f"running {artifact.path}"):
        runtime = open_artifact(bundle.file(artifact.path))
        names = [_PROBABILITIES] if _PROBABILITIES in runtime.outputs else [o.name for o in bundle.manifest.outputs]
        missing = [name for name in names if name not in outputs]
        if missing or runtime.inputs[0].name not in inputs:
            raise ArtifactError(f"the golden data lacks {', '.join(missing) or 'the input'}", hint="export again")
        samples = inputs[runtime.inputs[0].name].astype(np.float32)
        expected = {name: outputs[name] for name in names}
        with running(artifact.path):
            found = run_samples(runtime, samples)
        compared = compare.outputs(
            expected,
            found,
            precision=artifact.precision,
            samples=bundle.manifest.golden.samples,
            limits=artifact_gate(artifact),
        )
    legs = [Leg(name="golden", verdict=compare.worst([o.verdict for o in compared]), outputs=compared)]
    if artifact.precision == "int8" and Path(artifact.path).suffix == ".onnx":
        # Whether this machine's kernels compute what the file says depends on the machine, so each one is asked.
        from swiftdeploy.parity import quantized

        legs.append(quantized.execution(bundle.file(artifact.path), samples, samples=bundle.manifest.golden.samples))
    passes = artifact_gate(artifact).passes
    return ParityReport(subject=artifact.path, precision=artifact.precision, gate_db=passes, legs=tuple(legs))


@contextlib.contextmanager
def running(name: str) -> Iterator[None]:
    """A runtime's own failure as ours: what loads may still hold a graph that cannot be computed."""
    try:
        yield
    except SwiftdeployError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(f"{name} loads and does not run: {reason[0][:200]}", hint="export again") from error


def verify_artifact(path: Path, *, seed: int = 0) -> Verification:
    """Run a lone artifact on seeded inputs: it loads, every op is known, and every output is finite.

    Without a checkpoint there is no oracle to compare with. Raises ArtifactError or ParityError.
    """
    runtime = open_artifact(path)
    with console.step(f"running {path.name}"), running(path.name):
        answers = runtime.run(seeded_feeds(runtime.inputs, seed=seed))
    broken = sorted(name for name, value in answers.items() if value.dtype.kind == "f" and not np.isfinite(value).all())
    if broken:
        raise ParityError(f"{path.name} gives NaN or Inf in {', '.join(broken)}", hint="try --precision fp32")
    return Verification(path=path, files=0, reports=())
