"""A mixed-bit recipe that meets a target: found by what each weight costs alone, and measured as the package it makes.

What the path of mixes predicts is only where to look. Every point of the report is a package that was written and run
in the reference runtime, on the images that were given.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swiftdeploy import bundle, compress, console
from swiftdeploy.errors import BudgetError, ModelError, UsageError
from swiftdeploy.pipeline import compressed, parity, variants
from swiftdeploy.pipeline.album import Album, find_images, read_album
from swiftdeploy.pipeline.compressed import Base
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import Pair, Subject, class_count, load_subject, prepare
from swiftdeploy.pipeline.threads import one_thread
from swiftdeploy.recipe import Recipe
from swiftdeploy.reporting import figures, sensitivity, tradeoff
from swiftdeploy.search import candidates
from swiftdeploy.search.candidates import Candidate
from swiftdeploy.search.request import SearchRequest, check_destination
from swiftdeploy.search.scores import Judge, judge
from swiftdeploy.search.sensitivity import damages
from swiftdeploy.search.trials import Trials, best, meets, spread, walk_to_accuracy, walk_to_size
from swiftdeploy.searches import REPORT_NAME, Damage, Point, SearchReport, Sensitivity, text

PACKAGES = ".packages"
NO_SCHEME = "no scheme makes any weight of this network smaller"
NO_RECIPE = "allow more, add smaller schemes (-p, or --min-ios 18 for more of them), or fine-tune (docs/compression.md)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What is known of a network before any mix: its candidates, measured, and each weight's damage by scheme."""

    base: Base
    candidates: tuple[Candidate, ...]
    damage: Mapping[tuple[str, str], float]
    peak: float


def search(request: SearchRequest) -> SearchReport:
    """Search, and write report, recipe and plots as the folder `request.destination`.

    Raises UsageError, DependencyError, CheckpointError or ModelError before the slow part, BudgetError where no recipe
    meets the target; nothing is written then.
    """
    check_destination(request)
    figures.check_library()
    for name in request.schemes:
        compress.check_libraries(Recipe(name=name, default=name))
    with one_thread():
        with console.step(f"loading {request.checkpoint} as {request.model}"):
            subject = load_subject(_export_request(request))
        album = _album(request, subject)
        check = functools.partial(check_destination, request)
        with bundle.placed(request.destination, replace=request.force, check=check) as folder:
            report = _search(request, subject, album, folder / PACKAGES)
            shutil.rmtree(folder / PACKAGES)
            with console.step("drawing"):
                figures.save(functools.partial(tradeoff.figure_of, report), folder, "pareto")
                figures.save(functools.partial(sensitivity.figure_of, report), folder, "sensitivity")
            (folder / f"{request.name}.toml").write_text(report.recipe.text(), encoding="utf-8")
            (folder / REPORT_NAME).write_text(text(report), encoding="utf-8")
    return report


def _export_request(request: SearchRequest) -> ExportRequest:
    """The export whose stages a search shares. What it finds is verified in all legs once it is exported."""
    return ExportRequest(
        model=request.model,
        checkpoint=request.checkpoint,
        attention=request.attention,
        destination=request.destination,
        options=dataclasses.replace(request.options, verify=False),
    )


def _album(request: SearchRequest, subject: Subject) -> Album:
    classes = class_count(subject.oracle, subject.example)
    if classes < 2:
        raise ModelError(f"{request.model} gives no scores of classes", hint="a search is for classifiers")
    needed = request.goal.max_drop is not None
    found = find_images(
        request.images, labels=request.labels, classes=classes, needed=needed, limit=request.limit, seed=request.seed
    )
    with console.step(f"reading {len(found.examples)} images"):
        return read_album(found, (subject.example.shape[2], subject.example.shape[3]), subject.preprocessing)


def _search(request: SearchRequest, subject: Subject, album: Album, folder: Path) -> SearchReport:
    folder.mkdir()
    with console.step("capturing and fusing the graph"):
        pair = prepare(subject)
    refuse("the fused graph", parity.fusion_report(pair.real), hint="report this with the model")
    with console.step("converting to fp16"):
        base = variants.make_bases(subject, pair, folder).real
    size, digest = bundle.artifact_digest(base.path)
    _check_size(request, base, size)
    made = candidates.make_candidates(base, request.schemes, folder)
    if not made:
        raise UsageError(NO_SCHEME, hint="name others with -p")
    _check_smallest(request, base, made, size, folder)
    with console.step(f"asking the oracle about {len(album.names)} images"):
        told = judge(subject.oracle, album, preprocessing=subject.preprocessing, kind=request.options.input_kind)
    trials = Trials(base, told, folder)
    with console.progress("running", total=len(made) + 1) as advance:
        trials.whole("fp16", "base", base.path, size, digest)
        advance(1)
        for candidate in made:
            trials.uniform(candidate)
            advance(1)
    _check_accuracy(request, trials)
    known = _measured(pair, base, made, told, request.probe)
    trials.follow(tuple(candidates.options(made, known.damage)))
    if not trials.path:
        raise UsageError(NO_SCHEME, hint="name others with -p")
    chosen = _walk(request, trials)
    recipe = dataclasses.replace(trials.recipes[chosen.name], name=request.name)
    _prove(subject, pair, base, trials.packages[chosen.name], recipe)
    return _report(request, subject, known, trials, chosen, recipe)


def _check_size(request: SearchRequest, base: Base, size: int) -> None:
    target = request.goal.target_bytes
    if target is None:
        return
    if target >= size:
        raise UsageError(f"fp16 has {size:,} bytes, and the target is {target:,}", hint="fp16 needs no recipe")
    least = candidates.least_bytes(base, request.schemes, size)
    if target < least:
        raise BudgetError(
            f"no mix of {', '.join(request.schemes)} has {target:,} bytes: the smallest has more than {least:,}",
            hint=NO_RECIPE,
        )


def _check_smallest(request: SearchRequest, base: Base, made: Sequence[Candidate], size: int, folder: Path) -> None:
    """Write the smallest mix there is where the target seems to be below it, before anything runs for long."""
    target = request.goal.target_bytes
    path = compress.mixes(candidates.before(base), candidates.options(made, defaultdict(float)), size)
    if target is None or not path or path[-1].bytes <= target:
        return
    least = candidates.package(base, compress.recipe_of("smallest", path[-1].schemes), folder)[1]
    if least > target:
        raise _too_large(request.schemes, target, least)


def _too_large(schemes: Sequence[str], target: int, least: int) -> BudgetError:
    return BudgetError(
        f"no mix of {', '.join(schemes)} has {target:,} bytes: the smallest has {least:,}", hint=NO_RECIPE
    )


def _check_accuracy(request: SearchRequest, trials: Trials) -> None:
    """fp16 itself may lose too much; then every search below it is in vain."""
    base, right, count = trials.points["fp16"], trials.judge.oracle_right, len(trials.judge.album.names)
    if request.goal.max_drop is not None and not meets(base, request.goal, right, count):
        raise BudgetError(
            f"fp16 alone is right on {base.right} of {count} images and the oracle on {right}: more than "
            f"{request.goal.max_drop:g} points are lost before anything is compressed",
            hint="see why with swiftdeploy inspect --run; --precision auto keeps the ops that need it in fp32",
        )


def _measured(pair: Pair, base: Base, made: tuple[Candidate, ...], told: Judge, probe: int) -> Measured:
    """Each weight alone on `probe` of the images, evenly chosen: accuracy is measured on all of them."""
    last = len(told.album.names) - 1
    rows = np.linspace(0, last, min(probe, last + 1))
    inputs = told.inputs(rows.round().astype(int))
    damage, peak = damages(pair.real.built, base, made, inputs)
    return Measured(base=base, candidates=made, damage=damage, peak=peak)


def _walk(request: SearchRequest, trials: Trials) -> Point:
    """Measure along the path until the target holds, and choose. Raises BudgetError where nothing meets it."""
    goal, right, count = request.goal, trials.judge.oracle_right, len(trials.judge.album.names)
    spread(trials)
    if goal.target_bytes is not None:
        walk_to_size(trials, goal.target_bytes)
    else:
        walk_to_accuracy(trials, lambda point: meets(point, goal, right, count))
    chosen = best(tuple(trials.points.values()), goal, right, count)
    if chosen is not None:
        return chosen
    tried = [point for point in trials.points.values() if point.kind != "base"]
    if goal.target_bytes is not None:
        raise _too_large(request.schemes, goal.target_bytes, min(point.bytes for point in tried))
    top = max(point.right for point in tried)
    raise BudgetError(
        f"no recipe loses as little as {goal.max_drop:g} points: the oracle is right on {right} of {count} images, the "
        f"best of {len(tried)} compressed packages on {top}",
        hint=NO_RECIPE,
    )


def _prove(subject: Subject, pair: Pair, base: Base, package: Path, recipe: Recipe) -> None:
    """Hold the chosen package to what its weights are worth, and these to their schemes. Raises ParityError."""
    with console.step("verifying the chosen package"):
        variant = compressed.planned_variant(package, pair.real, base, recipe)
        report = compressed.report(
            variant,
            None,
            pair.real.outputs,
            own=len(subject.synthetic),
            precision=f"{recipe.name}.toml",
            options=subject.options,
        )
    refuse("the chosen package", report, hint="nothing was written; leave out the scheme that fails, and report it")


def _report(
    request: SearchRequest, subject: Subject, known: Measured, trials: Trials, chosen: Point, recipe: Recipe
) -> SearchReport:
    points = tuple(sorted(trials.points.values(), key=lambda p: (p.bytes, p.name)))
    best_of = compress.front([(point.bytes, point.right) for point in points])
    album = trials.judge.album
    return SearchReport(
        schema=1,
        model=subject.spec.name,
        checkpoint_sha256=subject.loaded.provenance.sha256,
        dataset_sha256=album.digest,
        images=len(album.names),
        sensitivity_images=min(request.probe, len(album.names)),
        measure="agreement" if album.labels is None else "top1",
        oracle_right=trials.judge.oracle_right,
        goal=request.goal,
        min_ios=request.options.min_ios,
        candidates=tuple(candidate.scheme for candidate in known.candidates),
        points=points,
        front=tuple(points[index].name for index in best_of),
        chosen=chosen.name,
        recipe=recipe,
        sensitivities=_sensitivities(known),
        kept=candidates.kept(known.base, request.schemes),
    )


def _sensitivities(known: Measured) -> tuple[Sensitivity, ...]:
    """The weights that some candidate compresses, in the program's order."""
    return tuple(
        Sensitivity(
            weight=candidates.portable(weight), shape=weight.value.shape, bytes=weight.value.nbytes, damages=found
        )
        for weight in known.base.weights
        if (found := tuple(_damages(known, weight.name)))
    )


def _damages(known: Measured, weight: str) -> Sequence[Damage]:
    return [
        Damage(
            scheme=candidate.scheme,
            bytes=candidate.stored[weight],
            psnr_db=_decibels(known.damage[weight, candidate.scheme], known.peak),
        )
        for candidate in known.candidates
        if weight in candidate.stored
    ]


def _decibels(mean_square: float, peak: float) -> float | None:
    return 20.0 * math.log10(peak) - 10.0 * math.log10(mean_square) if mean_square > 0.0 and peak > 0.0 else None
