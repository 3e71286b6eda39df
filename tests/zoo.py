"""Small networks with stress weights, captured, fused and written once a session; the fixtures stand in conftest.py."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from swiftdeploy_models import efficientnet_lite, mobilevit_v2, swiftformer

from swiftdeploy.capture import Program, capture, freeze
from swiftdeploy.fuse import Fused, fuse
from swiftdeploy.parity.samples import synthetic, to_input
from swiftdeploy.parity.stress import stress_
from swiftdeploy.spec import Preprocessing
from swiftdeploy.targets import coreml, onnx

FACTORIES = vars(swiftformer) | vars(mobilevit_v2) | vars(efficientnet_lite)
TARGETS = {"coreml": (coreml, {"min_ios": 16}), "onnx": (onnx, {"opset": 20})}


def tiny(**arguments):
    """One block a stage: every op of a SwiftFormer, in the fewest."""
    return swiftformer.SwiftFormer(widths=(8, 12, 16, 24), depths=(1, 1, 1, 1), num_classes=10, **arguments)


@dataclass(frozen=True)
class Network:
    """A stressed network, its images (N, C, H, W), its eager answers, and what fusing made of it."""

    module: torch.nn.Module
    images: torch.Tensor
    expected: tuple[torch.Tensor, ...]
    fused: Fused
    program: Program

    @property
    def ledger(self):
        return {record.name: record for record in self.fused.ledger}


def calibration(size, channels=3):
    """The samples that parity uses, scaled to -1..1."""
    scaled = Preprocessing(resize=size, crop=size, mean=(0.5,) * channels, std=(0.5,) * channels)
    images = [sample.image for sample in synthetic((size, size), channels)]
    return torch.from_numpy(to_input(images, scaled, "tensor"))


def build(module, images):
    """The Network of a module, which gets stress weights; the constant images take no part in fitting them."""
    module.eval().requires_grad_(False)
    stress_(module, images[:5])
    with torch.no_grad():
        answers = [module(image[None]) for image in images]
    rows = [(a,) if isinstance(a, torch.Tensor) else tuple(a) for a in answers]
    result = fuse(capture(module, images[:1]), images)
    return Network(
        module=module,
        images=images,
        expected=tuple(torch.cat(column) for column in zip(*rows, strict=True)),
        fused=result,
        program=freeze(result.graph, images[:1], input_name="image"),
    )


@dataclass(frozen=True)
class Zoo:
    """Everything that was built or written so far."""

    folder: Path
    networks: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)

    def network(self, name, size, **arguments):
        """The Network of "tiny" or of a factory's name."""
        key = (name, size, *sorted(arguments.items()))
        if key not in self.networks:
            torch.manual_seed(0)
            factory = tiny if name == "tiny" else FACTORIES[name]
            images = calibration(size, arguments.get("in_channels", 3))
            self.networks[key] = build(factory(**arguments), images)
        return self.networks[key]

    def written(self, target, precision, *, of=("tiny", 32), **options):
        """The path of a network's .mlpackage or .onnx, by default the tiny one's; `of` is (name, size, *arguments)."""
        key = (target, precision, of, *sorted((name, str(value)) for name, value in options.items()))
        if key not in self.files:
            room, defaults = TARGETS[target]
            name, size, *arguments = of
            path = self.folder / f"{len(self.files)}{room.SUFFIX}"
            program = self.network(name, size, **dict(arguments)).program
            room.convert(program, path, precision=precision, **{**defaults, **options})
            self.files[key] = path
        return self.files[key]
