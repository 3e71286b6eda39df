"""A `Checkpoint` and a `ModelSpec` become the oracle: a strict, fp32, eval-mode module with its provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from swiftdeploy import catalog
from swiftdeploy.checkpoint import timm_models
from swiftdeploy.checkpoint.keys import compare, require_strict
from swiftdeploy.checkpoint.state import strip_prefixes
from swiftdeploy.checkpoint.untouched import untouched_norms
from swiftdeploy.checkpoint.values import Checkpoint, Loaded
from swiftdeploy.errors import CheckpointError, ModelError, SwiftdeployError, UsageError
from swiftdeploy.report import Provenance
from swiftdeploy.spec import ModelSpec, Preprocessing, Reading

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def build(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    *,
    attention: str | None = None,
    arguments: Mapping[str, Any] = _NOTHING,
) -> Loaded:
    """The module of `spec` with exactly the checkpoint's weights.

    `arguments` go to the factory over what the weights say. Raises KeyMismatchError for keys or shapes that do not
    fit, CheckpointError for weights that were never trained or whose attention generation is unknown, UsageError
    for an attention that the model does not have, ModelError where the factory fails.
    """
    spec = _catalogued(spec)
    _check_attention(spec, attention, arguments)
    stages = strip_prefixes(checkpoint.state)
    reading = _read(checkpoint, spec, stages[-1][0], attention)
    given = {**reading.arguments, **arguments}
    module = _make(spec, given)
    # timm says which layers hold the classes and the channels; for any other module nobody does.
    if spec.factory.startswith(timm_models.PREFIX):
        adapted = timm_models.arguments_from(module, reading.state)
        if adapted.keys() - arguments.keys():
            given = {**adapted, **given}
            module = _make(spec, given)
    state, prefix = (reading.state, stages[-1][1]) if spec.reader else _fitting(stages, module)
    report = compare(module.state_dict(), state, ignored=checkpoint.ignored)
    require_strict(report, source=checkpoint.source, model=spec.name)
    notes = _trained(state, checkpoint.source, spec) + _widened(state, checkpoint.source)
    # Strictness is proved above; torch would still object to the absent batch counters of old files.
    module.load_state_dict(dict(state), strict=False)
    if prefix:
        notes = (f"prefix {prefix!r} stripped from every key", *notes)
    provenance = Provenance(
        weights="trained",
        source=checkpoint.source,
        sha256=checkpoint.sha256,
        format=checkpoint.format,
        naming=reading.naming,
        conclusions=(*checkpoint.notes, *notes, *reading.conclusions),
        keys=report,
    )
    return _oracle(module, spec, given, provenance, reading)


def build_untrained(
    spec: ModelSpec, seed: int, *, attention: str | None = None, arguments: Mapping[str, Any] = _NOTHING
) -> Loaded:
    """The module of `spec` as initialised under `seed`: for latency work, never for answers. Raises as `build`."""
    spec = _catalogued(spec)
    _check_attention(spec, attention, arguments)
    given = dict(arguments) if attention is None else {**arguments, "attention": attention}
    # Seeding must not disturb the caller's own random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _make(spec, given)
    provenance = Provenance(weights="untrained", source=f"seed {seed}", sha256="", format="", seed=seed)
    return _oracle(module, spec, given, provenance, None)


def _catalogued(spec: ModelSpec) -> ModelSpec:
    """The catalog's row where `spec` names a catalogued factory bare: no side door past a reader's checks."""
    if spec.reader:
        return spec
    return next((row for row in catalog.entries() if row.factory == spec.factory), spec)


def _check_attention(spec: ModelSpec, attention: str | None, arguments: Mapping[str, Any]) -> None:
    if attention is not None and attention not in spec.attention:
        raise UsageError(
            f"{spec.name} has no attention generation {attention!r}",
            hint=f"choose from {', '.join(spec.attention)}" if spec.attention else "leave --attention out",
        )
    # A free argument would override what the reader concluded, without a word.
    if spec.attention and "attention" in arguments:
        raise UsageError(
            "the attention generation is no free argument: it comes from the weights", hint="use --attention"
        )


def _read(checkpoint: Checkpoint, spec: ModelSpec, state: Mapping[str, Tensor], attention: str | None) -> Reading:
    if not spec.reader:
        return Reading(naming="module", state=state)
    reader = catalog.resolve(spec.reader)
    reading: Reading = reader(state, config=checkpoint.config, attention=attention)
    return reading


def _fitting(stages: Sequence[tuple[Mapping[str, Tensor], str]], module: nn.Module) -> tuple[Mapping[str, Tensor], str]:
    """The first stage of stripping whose keys fit: a module may itself have a child named "model" or "net"."""
    expected = module.state_dict()
    return next((stage for stage in stages if compare(expected, stage[0]).strict), stages[-1])


def _make(spec: ModelSpec, arguments: Mapping[str, Any]) -> nn.Module:
    if spec.factory.startswith(timm_models.PREFIX):
        return timm_models.create(spec.factory.removeprefix(timm_models.PREFIX), arguments)
    factory = catalog.resolve(spec.factory)
    try:
        module = factory(**arguments)
    # A factory may know better than we what its user did wrong.
    except SwiftdeployError:
        raise
    except Exception as error:
        raise ModelError(
            f"factory {spec.factory} failed: {type(error).__name__}: {error}",
            hint="it must build the module from keyword arguments alone",
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"factory {spec.factory} returned a {type(module).__name__}", hint="it must return a torch.nn.Module"
        )
    return module


def _trained(state: Mapping[str, Tensor], source: str, spec: ModelSpec) -> tuple[str, ...]:
    """Raise CheckpointError where batch norms say that nothing was trained; a note where only some say so."""
    new, norms = untouched_norms(state)
    if not new:
        return ()
    # A catalogued architecture runs all its norms in training; a user's own may well hold an unused one.
    if len(new) == norms or spec.reader:
        raise CheckpointError(
            f"{source} was never trained: {len(new)} of {norms} batch norms are as initialised, first {new[0]}",
            hint="give trained weights, or for latency work use --untrained SEED without a checkpoint",
        )
    return (f"{len(new)} of {norms} batch norms are as initialised: {', '.join(new[:10])}",)


def _widened(state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """A note where weights are not stored in fp32. Raises CheckpointError where fp32 cannot hold them."""
    stored = {value.dtype for value in state.values() if value.is_floating_point()} - {torch.float32}
    for key, value in state.items():
        if value.dtype == torch.float64 and not torch.isfinite(value.float()).all():
            raise CheckpointError(f"{source}: {key} exceeds fp32", hint="is this the checkpoint you mean?")
    if not stored:
        return ()
    names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in stored))
    return (f"weights stored as {names}, computed in float32",)


def _oracle(
    module: nn.Module, spec: ModelSpec, arguments: Mapping[str, Any], provenance: Provenance, reading: Reading | None
) -> Loaded:
    preprocessing = spec.preprocessing
    if reading is not None and reading.preprocessing is not None:
        preprocessing = reading.preprocessing
    # Before reparameterising: folded batch norms take their running statistics.
    module.eval()
    if spec.factory.startswith(timm_models.PREFIX):
        preprocessing = timm_models.preprocessing(module) or preprocessing
        module = timm_models.reparameterize(module)
    channels = arguments.get("in_channels", arguments.get("in_chans", len(preprocessing.mean)))
    # Every later stage multiplies mean and std by channel; a wrong length would fail far from here.
    if channels != len(preprocessing.mean):
        preprocessing = _for_channels(preprocessing, channels)
        note = f"preprocessing for {channels} channels is assumed: the mean over the published channels"
        provenance = dataclasses.replace(provenance, conclusions=(*provenance.conclusions, note))
    module = module.float().eval().requires_grad_(False)
    return Loaded(module=module, provenance=provenance, preprocessing=preprocessing, arguments=arguments)


def _for_channels(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    mean = sum(preprocessing.mean) / len(preprocessing.mean)
    std = sum(preprocessing.std) / len(preprocessing.std)
    return dataclasses.replace(preprocessing, mean=(mean,) * channels, std=(std,) * channels)
