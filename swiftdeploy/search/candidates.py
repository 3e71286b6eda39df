"""What each scheme makes of each weight of one base package, by compressing the whole of it once a scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import bundle, compress, console
from swiftdeploy.compress.plan import fitted, stored_bytes
from swiftdeploy.pipeline.compressed import Arrays, Base
from swiftdeploy.pipeline.scratch import scratch
from swiftdeploy.recipe import Recipe, parse_scheme


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A package that stores every weight in one scheme, where that saves anything.

    `stored` are the bytes of each compressed weight, `dense` its values decompressed by coremltools, and `overhead`
    what the package grew by beside these: the ops that decompress, a share for each weight.
    """

    scheme: str
    path: Path
    bytes: int
    sha256: str
    stored: Mapping[str, int]
    dense: Arrays
    overhead: float


def make_candidates(base: Base, names: Sequence[str], folder: Path) -> tuple[Candidate, ...]:
    """Compress the base with each scheme, below `folder`; one that compresses nothing here is left out, and said so.

    Raises DependencyError, or ConversionError with coremltools' reason.
    """
    found = []
    with console.progress("compressing", total=len(names)) as advance:
        for name in names:
            made = _candidate(base, name, folder)
            if made is None:
                console.note(f"{name} makes no weight of this network smaller", mark="note")
            else:
                found.append(made)
            advance(1)
    return tuple(found)


def package(base: Base, recipe: Recipe, folder: Path) -> tuple[Path, int, str]:
    """(path below `folder`, bytes, sha256) of the base compressed by a recipe."""
    path = folder / f"{recipe.name}{base.path.suffix}"
    with scratch(folder):
        compress.compress(base.path, path, compress.plan_weights(base.weights, recipe), base.weights)
    return path, *bundle.artifact_digest(path)


def least_bytes(base: Base, names: Sequence[str], size: int) -> int:
    """A size that no mix of these schemes gets below, known before anything is compressed.

    Sparse ones count as nothing, since their zeros are counted only later, and the ops that decompress neither.
    """
    for weight in base.weights:
        shape, axis = weight.value.shape, weight.output_axis or 0
        usable = [fitted(parse_scheme(name), weight) for name in names if _saves(weight, name)]
        sizes = [0 if scheme.sparsity else stored_bytes(scheme, shape, axis) for scheme in usable]
        if sizes:
            size -= stored_bytes(parse_scheme(compress.KEPT), shape, axis) - min(sizes)
    return size


def portable(weight: compress.Weight) -> str:
    """What a recipe calls a weight so that it serves either kind of input."""
    return compress.names_of(weight)[-1]


def before(base: Base) -> dict[str, float]:
    """Bytes of each weight as the base stores it."""
    return {weight.name: float(weight.value.nbytes) for weight in base.weights}


def kept(base: Base, names: Sequence[str]) -> dict[str, str]:
    """The weights that no scheme compresses, with the first one's reason."""
    plans = [compress.plan_weights(base.weights, Recipe(name=name, default=name)) for name in names]
    done = {weight for plan in plans for weight in plan.schemes}
    left = [weight for weight in base.weights if weight.name not in done]
    return {portable(weight): plans[0].reasons[weight.name] for weight in left}


def options(candidates: Sequence[Candidate], damage: Mapping[tuple[str, str], float]) -> Iterator[compress.Option]:
    """Every way to store every weight, with `damage` by (weight, scheme)."""
    for candidate in candidates:
        for weight, stored in candidate.stored.items():
            yield compress.Option(
                weight=weight,
                scheme=candidate.scheme,
                bytes=stored + candidate.overhead,
                damage=damage[weight, candidate.scheme],
            )


def _saves(weight: compress.Weight, name: str) -> bool:
    return bool(compress.plan_weights([weight], Recipe(name=name, default=name)).schemes)


def _candidate(base: Base, name: str, folder: Path) -> Candidate | None:
    recipe = Recipe(name=name, default=name)
    plan = compress.plan_weights(base.weights, recipe)
    if not plan.schemes:
        return None
    path, size, digest = package(base, recipe, folder)
    dense = compress.dense_weights(path)
    records = compress.tensor_records(path, base.weights, plan, dense)
    saved = sum(record.bytes_before - record.bytes_after for record in records)
    grown = size - bundle.artifact_digest(base.path)[0] + saved
    return Candidate(
        scheme=name,
        path=path,
        bytes=size,
        sha256=digest,
        stored={record.name: record.bytes_after for record in records},
        dense={weight: dense[weight] for weight in plan.schemes},
        overhead=grown / len(records),
    )
