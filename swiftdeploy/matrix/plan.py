"""The plan of a run: one job a model, what is cached of it, and what is wrong with it before anything slow begins."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from swiftdeploy import bundle, catalog, console
from swiftdeploy.config import Config, ModelEntry, options_of
from swiftdeploy.errors import CheckpointError, ConfigError, SwiftdeployError, UsageError
from swiftdeploy.matrix import cache, memory
from swiftdeploy.matrix.baseline import Baselines
from swiftdeploy.matrix.cache import Cache, Entry
from swiftdeploy.matrix.fingerprint import fingerprint, key_of, pinnable_digest
from swiftdeploy.matrix.jobs import Job, failure_of
from swiftdeploy.matrix.publish import check_published
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.runs import BundleSummary, Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One job of the plan: its `entry` is in the cache, or `reason` says why not, or `failure` why it cannot begin.

    `before` is the baseline, for a model that has one.
    """

    job: Job
    model: ModelEntry
    before: BundleSummary | None = None
    entry: Entry | None = None
    reason: str = ""
    failure: Failure | None = None


def plan(config: Config, *, store: Cache | None, only: tuple[str, ...] = (), dry: bool = False) -> tuple[Planned, ...]:
    """One job for each model of the configuration, or for those in `only`, in the file's order.

    With `dry` not even a damaged entry of the cache is dropped. Raises UsageError for a name that the file lacks.
    """
    known = dict(config.models)
    for name in only:
        if name not in known:
            raise UsageError(f"{config.name} has no model {name!r}", hint=f"choose from {', '.join(known)}")
    peaks = cache.peaks(store) if store is not None else {}
    before = Baselines(config)
    chosen = {name: known[name] for name in known if name in (only or known)}
    with console.step(f"planning {len(chosen)} jobs"):
        return tuple(
            _compared(_planned(config, name, model, store, peaks.get(name, 0), dry=dry), before)
            for name, model in chosen.items()
        )


def request_of(config: Config, name: str, model: ModelEntry) -> ExportRequest:
    """The export of one model, as `swiftdeploy export` in the file's folder would do it."""
    labels = model.labels if model.labels in ("", "imagenet") else str(config.path(model.labels))
    return ExportRequest(
        model=model.model,
        destination=config.bundle(name),
        checkpoint=config.path(model.checkpoint),
        untrained=model.untrained,
        attention=model.attention,
        labels=labels,
        images=Path(str(config.path(model.images))) if model.images else None,
        calibration=Path(str(config.path(model.calibration))) if model.calibration else None,
        options=options_of(model, f"{config.name} [models.{name}]", config.folder),
        force=True,
    )


def _planned(config: Config, name: str, model: ModelEntry, store: Cache | None, peak: int, *, dry: bool) -> Planned:
    request = request_of(config, name, model)
    top1 = model.budgets.top1
    bare = Job(
        name=name,
        checkpoint=model.checkpoint or f"untrained, seed {model.untrained}",
        request=request,
        folder=config.folder,
        sha256=model.sha256,
        judged_on=Path(str(config.path(top1.images))) if top1 is not None else None,
        memory=peak or memory.guess(_weight_bytes(request)),
    )
    try:
        bundle.check_destination(request.destination, force=True)
        check_published(request.destination)
        _check_results(config, model)
        parts = fingerprint(request, folder=config.folder, judged_on=bare.judged_on)
        check_pin(request, model.sha256, config.name)
        job = _keyed(bare, parts, store)
        found = _look(job, store, drop=not dry)
    except SwiftdeployError as error:
        return Planned(job=bare, model=model, reason="it cannot begin", failure=failure_of(error, "plan"))
    return Planned(job=job, model=model, entry=found.entry, reason=found.reason)


def _compared(item: Planned, baselines: Baselines) -> Planned:
    """The job with its baseline; one that cannot be judged does not begin."""
    if item.failure is not None:
        return item
    try:
        return replace(item, before=baselines.of(item.job.name, item.model))
    except SwiftdeployError as error:
        return replace(item, entry=None, reason="it cannot begin", failure=failure_of(error, "baseline"))


def _keyed(bare: Job, parts: dict[str, str], store: Cache | None) -> Job:
    return replace(bare, parts=parts, key=key_of(parts) if store is not None else "", cache=store)


def _look(job: Job, store: Cache | None, *, drop: bool) -> cache.Found:
    if store is None:
        return cache.Found(entry=None, reason="--no-cache")
    if not cache.bundle_of(store, job.key).exists():
        return cache.look(store, job.key, job.parts, name=job.name, drop=False)
    with cache.holding(store, job.key, shared=True, wait=False) as free:
        if not free:
            return cache.Found(entry=None, reason="another run makes it just now")
        found = cache.look(store, job.key, job.parts, name=job.name, drop=False)
    if found.entry is None and drop:
        return cache.look(store, job.key, job.parts, name=job.name)
    return found


def check_pin(request: ExportRequest, pinned: str | None, file: str) -> None:
    """Raise CheckpointError where the weights are not the ones that the configuration `file` pins."""
    if pinned is None or request.checkpoint is None:
        return
    found = pinnable_digest(request.checkpoint)
    if found != pinned:
        raise CheckpointError(
            f"{Path(request.checkpoint).name} has sha256 {found[:16]}…, and {file} pins {pinned[:16]}…",
            hint="restore the file, or change sha256 where the new weights are meant",
        )


def _check_results(config: Config, model: ModelEntry) -> None:
    """Raise ConfigError where the results of a device that a budget judges by are not there."""
    results = model.budgets.latency.results if model.budgets.latency is not None else None
    if results is not None and not Path(str(config.path(results))).exists():
        raise ConfigError(
            f"the results {results} of budgets.latency are not there",
            hint="fetch them from the device, or leave the budget out until there are some",
        )


def _weight_bytes(request: ExportRequest) -> int:
    """The size of the weights on disk; where that cannot be told, of the catalog's parameters as fp32."""
    path = Path(request.checkpoint or "")
    with contextlib.suppress(OSError):
        if request.checkpoint and path.is_dir():
            return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
        if request.checkpoint:
            return path.stat().st_size
    with contextlib.suppress(SwiftdeployError):
        return 4 * catalog.find(request.model).parameters
    return 0
