"""What the stages after loading work on: an oracle, its samples, and its program beside the stressed one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import tensors_of
from swiftdeploy.checkpoint import Loaded
from swiftdeploy.errors import ModelError, UsageError
from swiftdeploy.parity.samples import Sample, synthetic, to_input
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.images import read_calibration, read_images
from swiftdeploy.pipeline.labels import read_labels
from swiftdeploy.pipeline.program import build
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions, ModelSpec, Preprocessing

STRESS_SEED = 20230315
GOLDEN_SAMPLES = ("natural_0", "natural_1", "white_noise", "constant_255")
# Constant images give random weights next to no variance to work on: what is left there is rounding, magnified.
STRESS_SAMPLES = frozenset({"natural_0", "natural_1", "natural_2", "natural_3", "white_noise"})


_FREE_BATCH = "write -1 for the batch in its forward, or leave --dynamic-batch out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What the stages after loading work on. `synthetic` samples are ours, `images` and `calibration` the user's."""

    request: ExportRequest
    spec: ModelSpec
    loaded: Loaded
    options: ExportOptions
    preprocessing: Preprocessing
    example: torch.Tensor
    synthetic: tuple[Sample, ...]
    images: tuple[Sample, ...]
    labels: tuple[str, ...]
    calibration: tuple[Sample, ...] = ()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Everything that parity is measured on."""
        return (*self.synthetic, *self.images)

    @property
    def oracle(self) -> nn.Module:
        """The unfused, eager, fp32 module as loaded."""
        return self.loaded.module


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A subject's program and the same architecture's program under stress weights, each with its oracle's answers."""

    real: parity.Reference
    stress: parity.Reference | None


def load_subject(request: ExportRequest) -> Subject:
    """Load the oracle and make its samples. Raises CheckpointError, ModelError or UsageError."""
    spec = catalog.find(request.model)
    if request.checkpoint is not None:
        weights = checkpoint.load(request.checkpoint)
        loaded = checkpoint.build(weights, spec, attention=request.attention, arguments=request.arguments)
    else:
        seed = request.untrained or 0
        loaded = checkpoint.build_untrained(spec, seed, attention=request.attention, arguments=request.arguments)
    preprocessing = loaded.preprocessing
    side = request.options.input_size or (preprocessing.crop, preprocessing.crop)
    channels = int(loaded.arguments.get("in_channels", spec.channels))
    preprocessing = _for_channels(preprocessing, channels)
    samples = synthetic(side, channels)
    images = read_images(request.images, side, preprocessing) if request.images is not None else ()
    given = request.calibration
    calibration = read_calibration(given, side, preprocessing) if given is not None else ()
    example = torch.from_numpy(to_input([samples[0].image] * request.options.batch, preprocessing, "tensor"))
    classes = class_count(loaded.module, example)
    if request.options.dynamic_batch:
        _answered(loaded.module, example.repeat(2, 1, 1, 1), hint=_FREE_BATCH)
    labels = read_labels(request.labels, classes=classes) if request.labels else request.options.labels
    return Subject(
        request=request,
        spec=spec,
        loaded=loaded,
        options=replace(request.options, labels=labels),
        preprocessing=preprocessing,
        example=example,
        synthetic=samples,
        images=images,
        labels=labels,
        calibration=calibration,
    )


def prepare(subject: Subject) -> Pair:
    """Build the subject's program, and the one under stress weights unless verification is off."""
    real = truth_of(subject, subject.oracle, subject.samples)
    if not subject.options.verify:
        return Pair(real=real, stress=None)
    samples = [s for s in subject.samples if s.name in STRESS_SAMPLES]
    images = torch.from_numpy(to_input([s.image for s in samples], subject.preprocessing, "tensor"))
    stressed = parity.stressed(subject.oracle, _taken(subject, images), seed=STRESS_SEED)
    return Pair(real=real, stress=truth_of(subject, stressed, samples))


def _taken(subject: Subject, images: torch.Tensor) -> torch.Tensor:
    """The images at once where the model takes them so; a forward that says view(1, -1) takes the example's number."""
    try:
        with torch.no_grad():
            subject.oracle(images)
    except Exception:  # noqa: BLE001  it took the example, so that only the number can be at fault
        batch = len(subject.example)
        return images[:1].repeat(batch, 1, 1, 1) if batch > len(images) else images[:batch]
    return images


def truth_of(subject: Subject, oracle: nn.Module, samples: Sequence[Sample]) -> parity.Reference:
    """The program of `oracle` (the subject's own, or a stressed copy) beside the eager oracle's answers."""
    kind = subject.options.input_kind
    # Scales are set by our own samples alone: weights that depended on --images could not be verified without them.
    known = {sample.name for sample in subject.synthetic}
    chosen = [sample.image for sample in samples if sample.name in known]
    images = torch.from_numpy(to_input(chosen, subject.preprocessing, kind))
    built = build(
        oracle,
        images[:1].repeat(subject.options.batch, 1, 1, 1),
        images,
        input_kind=kind,
        preprocessing=subject.preprocessing,
        labelled=bool(subject.labels),
        fused=subject.options.fuse,
    )
    return parity.reference(oracle, built, samples, kind=kind, preprocessing=subject.preprocessing)


def _for_channels(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same preprocessing with one mean and std a channel; a single pair serves any number of channels."""
    mean, std = preprocessing.mean, preprocessing.std
    if len(mean) == channels:
        return preprocessing
    if len(set(mean)) == 1 and len(set(std)) == 1:
        return replace(preprocessing, mean=mean[:1] * channels, std=std[:1] * channels)
    if channels == 1:
        return replace(preprocessing, mean=(sum(mean) / len(mean),), std=(sum(std) / len(std),))
    raise UsageError(
        f"the preprocessing has {len(mean)} channels, the model takes {channels}", hint="give --mean and --std for each"
    )


def class_count(module: nn.Module, example: torch.Tensor) -> int:
    """How many scores a classifier gives, 0 for a model that is none.

    Raises ModelError where the model fails or takes more than one input, ConversionError for outputs that no artifact
    can have.
    """
    inputs = _required(module)
    if len(inputs) > 1:
        raise ModelError(
            f"{type(module).__name__}.forward takes {len(inputs)} inputs ({', '.join(inputs)}): one image is supported",
            hint="wrap the model so that forward takes the image alone",
        )
    output = _answered(module, example, hint="check --size and the checkpoint's input channels")
    tensors_of(module, output)
    return int(output.shape[1]) if isinstance(output, torch.Tensor) and output.dim() == 2 else 0


def _answered(module: nn.Module, example: torch.Tensor, *, hint: str) -> object:
    """What the module returns. Raises ModelError with the hint where it fails."""
    try:
        with torch.no_grad():
            return module(example)
    except Exception as error:
        raise ModelError(
            f"the model fails on an input of shape {tuple(example.shape)}: {type(error).__name__}: {str(error)[:160]}",
            hint=hint,
        ) from error


def _required(module: nn.Module) -> list[str]:
    """The names of the inputs that `forward` has no default for."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
