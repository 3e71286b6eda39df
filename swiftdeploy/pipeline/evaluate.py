"""A bundle on labelled images: what can be wrong is found first, then every image is answered, then counted."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import ArtifactRecord, Manifest
from swiftdeploy.errors import ModelError, UsageError
from swiftdeploy.evaluation import spread, statistics
from swiftdeploy.evaluation.answers import Answer
from swiftdeploy.evaluation.dataset import DataSet, Example, Skipped, checked, subset
from swiftdeploy.evaluation.decode import Exif
from swiftdeploy.evaluation.journal import Journal, open_journal
from swiftdeploy.evaluation.recommend import TOLERANCE, Contender, Recommendation, recommend
from swiftdeploy.evaluation.report import ORACLE, Budget, EvaluationReport, Row, Subset
from swiftdeploy.pipeline.album import labelled
from swiftdeploy.pipeline.evaluator import Setup, answer, forget
from swiftdeploy.pipeline.oracle import load_oracle
from swiftdeploy.pipeline.source import model_digest
from swiftdeploy.pipeline.verify import hashed
from swiftdeploy.pipeline.versions import versions
from swiftdeploy.precision import parse

CHUNK = 8  # images a task: small enough to lose little when interrupted
_PRECISE = ("fp32", "auto", "fp16")
_ORIGINAL_HINT = "give --checkpoint, or a bundle that also has an fp32 or fp16 artifact"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRequest:
    """What to evaluate, on what, how. `labels` is "", a file, "imagenet", or "sorted" for folders in class order."""

    bundle: Path
    images: Path
    checkpoint: str | None = None
    model: str | None = None
    labels: str = ""
    limit: int | None = None
    seed: int = 0
    exif: Exif = "ignore"
    skip_unreadable: bool = False
    resume: Path | None = None
    jobs: int = 1
    scheduler: str | None = None
    min_top1: float | None = None
    max_top1_drop: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit} leaves no image", hint="use --limit 1 or more")
        if self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs} is not positive", hint="use --jobs 1 or more")
        if self.scheduler is not None and self.jobs > 1:
            raise UsageError("--jobs and --scheduler contradict each other", hint="leave one of the two out")
        if self.exif not in ("ignore", "apply"):
            raise UsageError(f"--exif {self.exif!r} is not known", hint="choose from ignore, apply")
        for name, value in (("--min-top1", self.min_top1), ("--max-top1-drop", self.max_top1_drop)):
            if value is not None and not math.isfinite(value):
                raise UsageError(f"{name} {value} is no bound", hint="give a number of percent or points")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A request whose every part was found to fit; nothing has run yet. `total` images were there before --limit."""

    request: EvaluationRequest
    manifest: Manifest
    setup: Setup
    dataset: DataSet
    total: int
    classes: int
    skipped: tuple[Skipped, ...]


def evaluate(request: EvaluationRequest) -> EvaluationReport:
    """The figures of every artifact, and of the oracle where its checkpoint is given. Raises as `prepare` and `run`."""
    return run(prepare(request))


def prepare(request: EvaluationRequest) -> Prepared:
    """Check bundle, checkpoint, data set and every image's header.

    Raises ArtifactError, CheckpointError, ModelError or UsageError for whatever does not fit, and for a bound on the
    loss where all that it could be measured against is compressed.
    """
    manifest = hashed(request.bundle).manifest
    lossy = _lossy_reference(request, manifest)
    if lossy and request.max_top1_drop is not None:
        raise UsageError(f"--max-top1-drop cannot be judged: {lossy}", hint=_ORIGINAL_HINT)
    classes = _classes(manifest)
    dataset = _dataset(request, manifest, classes)
    for note in dataset.notes:
        console.note(note, mark="note")
    total = len(dataset.examples)
    if request.limit is not None:
        dataset = subset(dataset, request.limit, request.seed)
    with console.step(f"reading the headers of {len(dataset.examples)} images"):
        dataset, skipped, turned = checked(dataset, skip=request.skip_unreadable)
    if turned:
        done = "turned" if request.exif == "apply" else "not turned, as in training; --exif apply turns them"
        console.note(f"{turned} images carry an EXIF orientation: they are {done}", mark="note")
    if request.checkpoint is not None:
        with console.step(f"loading {request.checkpoint} as {manifest.model.name}"):
            load_oracle(manifest, request.checkpoint, model=request.model)
    return Prepared(
        request=request,
        manifest=manifest,
        setup=_setup(request, manifest),
        dataset=dataset,
        total=total,
        classes=classes,
        skipped=skipped,
    )


def run(prepared: Prepared) -> EvaluationReport:
    """Answer every image that the journal lacks, and count.

    Raises UsageError for a journal of another evaluation, UnreadableImage for an image that does not decode,
    ArtifactError for a model that does not run, DependencyError for workers that are not there.
    """
    examples = prepared.dataset.examples
    with console.step(f"hashing {len(examples)} images"):
        digest = prepared.dataset.digest()
    journal = open_journal(prepared.request.resume, _identity(prepared, digest))
    try:
        found = _answers(prepared, journal)
    finally:
        journal.close()
        forget()
    ordered = [found[example.name] for example in examples]
    lost = tuple(Skipped(name=a.name, reason=a.unreadable) for a in ordered if a.unreadable)
    readable = [a for a in ordered if not a.unreadable]
    if not readable:
        raise UsageError("no image of the data set is readable", hint="every one was skipped")
    return _report(prepared, digest, readable, tuple(sorted((*prepared.skipped, *lost), key=lambda s: s.name)))


def _classes(manifest: Manifest) -> int:
    shapes = [output.shape for output in manifest.outputs]
    channels = len(manifest.preprocessing.mean)
    if not shapes or len(shapes[0]) != 2 or shapes[0][1] < 2:
        raise ModelError(
            f"{manifest.model.name} gives no scores of classes: its output has shape {shapes[0] if shapes else ()}",
            hint="evaluate is for classifiers",
        )
    if channels not in (1, 3):
        raise ModelError(f"no image file has the {channels} channels of {manifest.model.name}", hint="use grey or RGB")
    return shapes[0][1]


def _dataset(request: EvaluationRequest, manifest: Manifest, count: int) -> DataSet:
    known = str(request.bundle / manifest.labels) if manifest.labels else ""
    return labelled(request.images, request.labels or known, count)


def _setup(request: EvaluationRequest, manifest: Manifest) -> Setup:
    shape = manifest.inputs[0].shape
    return Setup(
        bundle=request.bundle.resolve(),
        artifacts=tuple((a.path, a.sha256) for a in manifest.artifacts),
        checkpoint=_absolute(request.checkpoint),
        model=request.model,
        reference=ORACLE if request.checkpoint is not None else most_precise(manifest.artifacts).path,
        input_kind=manifest.input_kind,
        size=(shape[2], shape[3]),
        preprocessing=manifest.preprocessing,
        exif=request.exif,
        skip_unreadable=request.skip_unreadable,
    )


def _absolute(checkpoint: str | None) -> str | None:
    """A path that another process understands; a hub id is one already."""
    path = Path(checkpoint or "").expanduser()
    return str(path.resolve()) if checkpoint and path.exists() else checkpoint


def most_precise(artifacts: Sequence[ArtifactRecord]) -> ArtifactRecord:
    """What the others are compared with where there is no oracle: fp32, auto, fp16, then the rest.

    Of two alike the ONNX file, since ONNX Runtime is not of our own making.
    """
    ranks = {name: rank for rank, name in enumerate(_PRECISE)}
    return min(artifacts, key=lambda a: (ranks.get(a.precision, len(_PRECISE)), a.target != "onnx", a.path))


def _lossy_reference(request: EvaluationRequest, manifest: Manifest) -> str:
    """Why no loss can be told, "" where it can: a compressed artifact as the reference has lost something itself."""
    if request.checkpoint is not None:
        return ""
    reference = most_precise(manifest.artifacts)
    if not parse(reference.precision).compressed:
        return ""
    return f"the bundle's most precise artifact, {reference.path}, is compressed, and what it lost itself is unknown"


def _identity(prepared: Prepared, images: str) -> Mapping[str, str]:
    """What a journal belongs to: answers of another bundle, checkpoint, set or version must not be mixed in."""
    made, factory = versions(), prepared.request.model or ""
    return {
        "bundle": prepared.manifest.tree_sha256,
        "checkpoint": prepared.manifest.provenance.sha256 if prepared.request.checkpoint is not None else "",
        "model": model_digest(factory, Path()) if ":" in factory else "",
        "images": images,
        "exif": prepared.request.exif,
        "preprocessing": str(prepared.manifest.preprocessing),
        "versions": ", ".join(f"{name} {made[name]}" for name in sorted(made)),
    }


def _answers(prepared: Prepared, journal: Journal) -> dict[str, Answer]:
    """Every image's answer, by name.

    A chunk that the journal holds in part is answered anew: batches are then those of a run without interruption.
    """
    examples, size = prepared.dataset.examples, _chunk(prepared.manifest)
    usable = {name: a for name, a in journal.answers.items() if prepared.request.skip_unreadable or not a.unreadable}
    chunks = [examples[start : start + size] for start in range(0, len(examples), size)]
    missing = [chunk for chunk in chunks if not all(example.name in usable for example in chunk)]
    found = dict(usable)
    done = len(examples) - sum(len(chunk) for chunk in missing)
    if done:
        console.note(f"{done} of {len(examples)} images are answered already", mark="note")
    with console.progress("evaluating", total=len(examples), done=done) as advance:
        for number, answers in _spread(prepared, missing):
            journal.add(answers)
            found.update({a.name: a for a in answers})
            advance(len(missing[number]))
    return found


def _chunk(manifest: Manifest) -> int:
    """Images a task: whole batches."""
    batch = max(manifest.inputs[0].shape[0], 1)
    return batch * -(-CHUNK // batch)


def _spread(prepared: Prepared, chunks: Sequence[Sequence[Example]]) -> Iterator[tuple[int, list[Answer]]]:
    work = functools.partial(answer, prepared.setup)
    if prepared.request.scheduler is not None:
        return spread.over_dask(work, chunks, prepared.request.scheduler)
    jobs = min(prepared.request.jobs, len(chunks))
    return spread.over_processes(work, chunks, jobs) if jobs > 1 else spread.here(work, chunks)


def _report(
    prepared: Prepared, images: str, answers: Sequence[Answer], skipped: tuple[Skipped, ...]
) -> EvaluationReport:
    request, manifest, setup = prepared.request, prepared.manifest, prepared.setup
    subjects = {a.path: (str(a.precision), a.bytes) for a in manifest.artifacts}
    if request.checkpoint is not None:
        subjects = {ORACLE: ("fp32", 0), **subjects}
    rows = tuple(
        Row(
            precision=precision,
            bytes=size,
            figures=statistics.figures(answers, name, setup.reference, classes=prepared.classes),
        )
        for name, (precision, size) in subjects.items()
    )
    part = None
    if request.limit is not None:
        part = Subset(limit=request.limit, seed=request.seed, of=prepared.total)
    return EvaluationReport(
        schema=1,
        bundle=request.bundle.resolve().name,
        tree_sha256=manifest.tree_sha256,
        weights=manifest.provenance.weights,
        checkpoint_sha256=manifest.provenance.sha256 if request.checkpoint is not None else "",
        reference=setup.reference,
        images=len(answers),
        classes=prepared.classes,
        class_names=prepared.dataset.names,
        dataset_sha256=images,
        subset=part,
        exif=request.exif,
        preprocessing=manifest.preprocessing,
        input_size=setup.size,
        skipped=skipped,
        rows=rows,
        differences=statistics.differences(answers),
        budgets=_budgets(request, rows, setup.reference),
        recommendation=_recommendation(prepared, rows),
    )


def _recommendation(prepared: Prepared, rows: Sequence[Row]) -> Recommendation:
    """What to ship, by the labels; nothing where the weights are untrained, or the reference is compressed itself."""
    request, name = prepared.request, prepared.setup.reference
    if prepared.manifest.provenance.weights == "untrained":
        return Recommendation(
            artifact="", reason="the weights are untrained, and accuracy says nothing", tolerance=TOLERANCE
        )
    lossy = _lossy_reference(request, prepared.manifest)
    if lossy:
        return Recommendation(artifact="", reason=f"{lossy}; {_ORIGINAL_HINT}", tolerance=TOLERANCE)
    reference = next(row.figures.top1 for row in rows if row.figures.subject == name)
    return recommend(
        [
            Contender(name=row.figures.subject, bytes=row.bytes, right=row.figures.top1.count)
            for row in rows
            if row.figures.subject != ORACLE
        ],
        reference="the oracle" if name == ORACLE else name,
        right=reference.count,
        images=reference.of,
        tolerance=request.max_top1_drop,
    )


def _budgets(request: EvaluationRequest, rows: Sequence[Row], reference: str) -> tuple[Budget, ...]:
    """Which artifacts break the bounds that were set. Counts are compared, so that no rounding decides."""
    found = []
    figures = [row.figures for row in rows if row.figures.subject != ORACLE]
    if request.min_top1 is not None:
        broken = tuple(f.subject for f in figures if 100 * f.top1.count < request.min_top1 * f.top1.of)
        found.append(Budget(name="min_top1", limit=request.min_top1, broken=broken))
    if request.max_top1_drop is not None:
        best = next(row.figures.top1.count for row in rows if row.figures.subject == reference)
        broken = tuple(f.subject for f in figures if 100 * (best - f.top1.count) > request.max_top1_drop * f.top1.of)
        found.append(Budget(name="max_top1_drop", limit=request.max_top1_drop, broken=broken))
    return tuple(found)
