"""What changed between two bundles, two folders of bundles, or two runs.

Every side is brought to the same form, a `runs.BundleSummary` by name; where the files themselves are at hand, their
weights are compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swiftdeploy import console
from swiftdeploy.errors import UsageError
from swiftdeploy.matrix.earlier import Earlier, earlier, is_bundle, names_at, read_earlier, report_at
from swiftdeploy.pipeline.contents import WeightsDifference, ops_difference, weights_difference
from swiftdeploy.report import ParityReport
from swiftdeploy.runs import REPORT_NAME, ArtifactSummary, BundleSummary

Kind = Literal["size", "psnr", "agreement", "accuracy", "latency"]
Value = float | Literal["equal"] | None  # "equal": the same to the bit, for PSNR; None: not recorded


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number on both sides: bytes, dB, a share, or milliseconds, as `kind` says."""

    kind: Kind
    name: str
    a: Value
    b: Value


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactDifference:
    """One artifact on both sides. `ops` holds the counts (a, b) of op types that differ; `weights` None if unread."""

    name: str
    identical: bool
    figures: tuple[Figure, ...]
    ops: Mapping[str, tuple[int, int]]
    weights: WeightsDifference | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleDifference:
    """One bundle on both sides. `facts` are what was made from and with, as texts (a, b), where they differ."""

    name: str
    identical: bool
    facts: Mapping[str, tuple[str, str]]
    size: Figure
    artifacts: tuple[ArtifactDifference, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Both sides, bundle by bundle; `only_a` and `only_b` are bundles that the other side lacks."""

    a: Path
    b: Path
    bundles: tuple[BundleDifference, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether both sides hold the same bytes."""
        return not (self.only_a or self.only_b) and all(bundle.identical for bundle in self.bundles)


def diff(a: Path, b: Path) -> Difference:
    """The difference from `a` to `b`: each a bundle, a folder of bundles, or a run's report.

    Two single bundles are compared whatever they are called, others by name. Raises ArtifactError for a side that does
    not verify, UsageError for one that is none of these.
    """
    one, two = _read(a), _read(b)
    if len(one) == len(two) == 1:
        two = dict(zip(one, two.values(), strict=True))
    return Difference(
        a=a,
        b=b,
        bundles=tuple(_bundles(name, one[name], two[name]) for name in one if name in two),
        only_a=tuple(name for name in one if name not in two),
        only_b=tuple(name for name in two if name not in one),
    )


def _read(path: Path) -> dict[str, Earlier]:
    with console.step(f"reading {path}"):
        return _side(path)


def _side(path: Path) -> dict[str, Earlier]:
    """Every bundle at `path` by name."""
    if is_bundle(path):
        return {path.resolve().name: read_earlier(path)}
    report = report_at(path)
    names = names_at(path, report)
    if report is None and not names:
        raise UsageError(f"{path} holds no bundle", hint=f"name a bundle, a folder of bundles, or a {REPORT_NAME}")
    return {name: found for name in names if (found := earlier(path, name, report)) is not None}


def _bundles(name: str, a: Earlier, b: Earlier) -> BundleDifference:
    pairs = list(_pairs(a.summary.artifacts, b.summary.artifacts))
    matched_a, matched_b = {one.path for one, _ in pairs}, {two.path for _, two in pairs}
    return BundleDifference(
        name=name,
        identical=a.summary.seal == b.summary.seal,
        facts=_facts(a.summary, b.summary),
        size=Figure(kind="size", name="size", a=a.summary.bytes, b=b.summary.bytes),
        artifacts=tuple(_artifact(one, two, a, b) for one, two in pairs),
        only_a=tuple(x.path for x in a.summary.artifacts if x.path not in matched_a),
        only_b=tuple(x.path for x in b.summary.artifacts if x.path not in matched_b),
    )


def _pairs(
    a: Sequence[ArtifactSummary], b: Sequence[ArtifactSummary]
) -> Iterator[tuple[ArtifactSummary, ArtifactSummary]]:
    """Artifacts of one name; where names differ, as those of two models do, the only ones of their kind."""
    named = {artifact.path: artifact for artifact in b}
    for one in a:
        if one.path in named:
            yield one, named[one.path]
            continue
        same = [x for x in b if _kind(x) == _kind(one)]
        if len(same) == 1 and [x for x in a if _kind(x) == _kind(one)] == [one]:
            yield one, same[0]


def _kind(artifact: ArtifactSummary) -> tuple[str, str, str]:
    return artifact.target, artifact.precision, Path(artifact.path).suffix


def _artifact(one: ArtifactSummary, two: ArtifactSummary, a: Earlier, b: Earlier) -> ArtifactDifference:
    weights = None
    if a.folder is not None and b.folder is not None:
        with console.step(f"comparing {one.path}"):
            weights = weights_difference(a.folder / one.path, b.folder / two.path)
    return ArtifactDifference(
        name=one.path if one.path == two.path else f"{one.path} → {two.path}",
        identical=one.sha256 == two.sha256,
        figures=tuple(_figures(one, two, a.summary, b.summary)),
        ops=ops_difference(one.ops, two.ops),
        weights=weights,
    )


def _figures(one: ArtifactSummary, two: ArtifactSummary, a: BundleSummary, b: BundleSummary) -> Iterator[Figure]:
    yield Figure(kind="size", name="size", a=one.bytes, b=two.bytes)
    left, right = _parity(one.parity), _parity(two.parity)
    for kind, name in dict.fromkeys([*left, *right]):
        yield Figure(kind=kind, name=name, a=left.get((kind, name)), b=right.get((kind, name)))
    yield from _both("accuracy", _accuracy(a, one.path), _accuracy(b, two.path))
    yield from _both("latency", _latency(a, one.path), _latency(b, two.path))


def _both(kind: Kind, a: Mapping[str, float], b: Mapping[str, float]) -> Iterator[Figure]:
    for name in dict.fromkeys([*a, *b]):
        yield Figure(kind=kind, name=name, a=a.get(name), b=b.get(name))


def _parity(report: ParityReport | None) -> dict[tuple[Kind, str], Value]:
    """The worst PSNR and the lowest top-1 agreement of each leg that compared outputs."""
    found: dict[tuple[Kind, str], Value] = {}
    for leg in report.legs if report else ():
        known = [output.psnr_db for output in leg.outputs if output.psnr_db is not None]
        shares = [output.top1 for output in leg.outputs if output.top1 is not None]
        if leg.outputs:
            found["psnr", leg.name] = min(known) if known else "equal"
        if shares:
            found["agreement", f"{leg.name} top-1"] = min(shares)
    return found


def _accuracy(summary: BundleSummary, path: str) -> dict[str, float]:
    return {f"top-1 on {x.images} images": x.top1 for x in summary.accuracy if x.artifact == path}


def _latency(summary: BundleSummary, path: str) -> dict[str, float]:
    """Milliseconds by unit and device; of several runs of one phone the fastest, as the least disturbed one."""
    found: dict[str, float] = {}
    for item in summary.latency:
        if item.artifact == path:
            name = f"{item.unit} on {item.device}"
            found[name] = min(item.median_ms, found.get(name, item.median_ms))
    return found


def _facts(a: BundleSummary, b: BundleSummary) -> dict[str, tuple[str, str]]:
    one, two = _texts(a), _texts(b)
    names = dict.fromkeys([*one, *two])
    return {name: (one.get(name, ""), two.get(name, "")) for name in names if one.get(name) != two.get(name)}


def _texts(summary: BundleSummary) -> dict[str, str]:
    fired = {f"fused {record.name}": str(len(record.fired)) for record in summary.fusion}
    return {
        "model": summary.model,
        "attention": summary.attention,
        "checkpoint": summary.provenance.source,
        "checkpoint sha256": summary.provenance.sha256,
        "weights": summary.provenance.weights,
        "input": summary.input_kind,
        **fired,
        **summary.tool,
    }
