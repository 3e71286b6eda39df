"""Models that timm defines: `--model timm:NAME`. timm is optional and imported late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from swiftdeploy.errors import DependencyError, ModelError
from swiftdeploy.spec import Preprocessing

PREFIX = "timm:"


def create(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The model that timm calls `name`, with random weights.

    Raises DependencyError without timm, ModelError where timm does not make it.
    """
    timm = _timm()
    try:
        module: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:
        raise ModelError(
            f"timm does not make {name!r}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="check the name in timm.list_models(), and the arguments",
        ) from error
    return module


def arguments_from(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, int]:
    """The class count and input channels of `state`, by the layers that the module's own pretrained_cfg names.

    Only what differs from `module` is in the answer.
    """
    config = getattr(module, "pretrained_cfg", None) or {}
    found = {}
    for argument, field, axis in (("num_classes", "classifier", 0), ("in_chans", "first_conv", 1)):
        layers = config.get(field) or ()
        # Distilled families name two classifiers.
        for layer in (layers,) if isinstance(layers, str) else layers:
            stored, own = state.get(f"{layer}.weight"), module.state_dict().get(f"{layer}.weight")
            if stored is None or own is None or stored.dim() != own.dim():
                continue
            # An argument that says what is so anyway would only clutter the manifest.
            if stored.shape[axis] != own.shape[axis]:
                found[argument] = int(stored.shape[axis])
    return found


def reparameterize(module: nn.Module) -> nn.Module:
    """The module with its training-time branches merged, where its family has any; the same function."""
    _timm()
    from timm.utils import reparameterize_model

    merged: nn.Module = reparameterize_model(module)
    return merged


def preprocessing(module: nn.Module) -> Preprocessing | None:
    """How timm prepares images for the module: shorter side to floor(size / crop_pct), centre crop."""
    config = getattr(module, "pretrained_cfg", None) or {}
    interpolation = config.get("interpolation", "bicubic")
    # The catalog default is better than half of a config.
    if not {"input_size", "mean", "std"} <= set(config) or interpolation not in ("bilinear", "bicubic"):
        return None
    side = int(config["input_size"][-1])
    return Preprocessing(
        resize=int(side / float(config.get("crop_pct") or 0.875)),
        crop=side,
        interpolation=interpolation,
        mean=tuple(float(value) for value in config["mean"]),
        std=tuple(float(value) for value in config["std"]),
    )


def _timm() -> Any:
    try:
        import timm
    # A torchvision of another build makes the import fail with RuntimeError, not ImportError.
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise DependencyError(
            f"timm does not import: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint='install "swiftdeploy-toolchain[timm]" and a torchvision that matches the installed torch',
        ) from error
    return timm
