"""coremltools compresses a package as a plan says; the result's bytes depend on the content alone.

Each scheme is one or two passes of `coremltools.optimize.coreml`: pruning, then tables or scales for what is left, then
8-bit tables. Only the weights of the plan are named to it, so that it touches nothing else.
Source for the options: coremltools 9's API reference, `coremltools.optimize.coreml`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.optimize import coreml as cto

from swiftdeploy import console
from swiftdeploy.canonical import canonicalise_package, save_package
from swiftdeploy.compress.plan import Plan, border_of
from swiftdeploy.compress.weights import Weight
from swiftdeploy.errors import ConversionError, UsageError, importing
from swiftdeploy.folding import unfolded
from swiftdeploy.recipe import Recipe, Scheme, parse_scheme

Pass = Callable[..., Any]
_SPARSE, _TABLE = "_sparsified", "_palettized"  # what coremltools appends to the name of what it compressed


def compress(source: Path, destination: Path, plan: Plan, weights: Sequence[Weight]) -> None:
    """Write `source` with its weights compressed as `destination` (a new .mlpackage folder).

    Raises UsageError where the plan compresses nothing, DependencyError without scikit-learn, ConversionError with
    coremltools' reason.
    """
    if not plan.schemes:
        why = next(iter(plan.reasons.values()), "it has no weights")
        raise UsageError(f"{plan.recipe.name} compresses nothing here: {why}", hint="use --precision fp16 for this one")
    check_libraries(plan.recipe)
    named = {weight.constant: (plan.schemes[weight.name], weight) for weight in weights if weight.name in plan.schemes}
    try:
        with console.quiet(), _one_thread(), unfolded():
            _run(source, destination, named)
    except OSError:
        raise  # a full or read-only disk is no fault of the weights
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"coremltools cannot compress to {plan.recipe.name}: {reason[0][:200]}",
            hint="run with -v to see what it prints; --precision fp16 needs no compression",
        ) from error
    canonicalise_package(destination)


def _run(source: Path, destination: Path, schemes: Mapping[str, tuple[Scheme, Weight]]) -> None:
    model = ct.models.MLModel(str(source), skip_model_load=True)
    for run, configs, joint in _passes(schemes):
        config = cto.OptimizationConfig(global_config=None, op_name_configs=configs)
        model = run(model, config, joint_compression=joint)
    save_package(model, destination)


def check_libraries(recipe: Recipe) -> None:
    """Raise DependencyError where the recipe has tables and scikit-learn, which finds their values, does not import."""
    names = (recipe.default, *(override.scheme for override in recipe.overrides))
    if all(parse_scheme(name).form != "table" for name in names):
        return
    what = f"{recipe.name} clusters weights, and scikit-learn does not import"
    with importing(what, hint="pip install -c constraints.txt '.[compress]'"), console.quiet():
        import sklearn.cluster  # noqa: F401


def _passes(schemes: Mapping[str, tuple[Scheme, Weight]]) -> Iterator[tuple[Pass, dict[str, Any], bool]]:
    """(pass, its options by the name of what it compresses, whether on top of an earlier one); empty ones left out."""
    prune: dict[str, Any] = {}
    tables: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    scales: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for constant, (scheme, weight) in schemes.items():
        if scheme.sparsity:
            prune[constant] = _smallest(scheme, weight)
        joint = bool(scheme.sparsity)
        target = constant + _SPARSE if joint else constant
        if scheme.form == "table":
            tables[joint][target] = _table(scheme)
        if scheme.form == "linear":
            scales[joint][target] = _scale(scheme)
        if scheme.table_bits == 8:
            scales[True][constant + _TABLE] = _scale(scheme)
    steps = (
        (cto.prune_weights, prune, False),
        *((cto.palettize_weights, tables[joint], joint) for joint in (False, True)),
        *((cto.linear_quantize_weights, scales[joint], joint) for joint in (False, True)),
    )
    return ((run, configs, joint) for run, configs, joint in steps if configs)


def _smallest(scheme: Scheme, weight: Weight) -> Any:
    """Prune everything up to the last of the magnitudes that make up the wanted share.

    Not coremltools' pruner by share: it counts in the weight's dtype, and fp16 ends at 65,504 values.
    """
    border = border_of(scheme, np.abs(weight.value).reshape(-1))
    return cto.OpThresholdPrunerConfig(
        threshold=border, minimum_sparsity_percentile=scheme.sparsity / 100, weight_threshold=0
    )


def _table(scheme: Scheme) -> Any:
    groups = {"granularity": "per_grouped_channel", "group_size": scheme.group} if scheme.group else {}
    return cto.OpPalettizerConfig(mode="kmeans", nbits=scheme.bits, weight_threshold=0, **groups)


def _scale(scheme: Scheme) -> Any:
    """Scales of a weight, or of a table's values, which share a single one."""
    if scheme.form == "table":
        return cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_tensor", weight_threshold=0
        )
    block = {"granularity": "per_block", "block_size": scheme.group} if scheme.bits == 4 else {}
    return cto.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype=f"int{scheme.bits}",
        weight_threshold=0,
        **{"granularity": "per_channel", **block},
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """k-means on one thread: how many share a sum decides its last bit, and so the bytes."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with scikit-learn, and without that nothing is clustered
        yield
        return
    with threadpool_limits(limits=1):
        yield
