"""The op that ends a classifier. Source: Apple's MIL op reference, `classify`."""

from __future__ import annotations

from torch import Tensor

from swiftdeploy.mil.kernels.registry import Value, kernel


def classify(probabilities: Tensor, classes: Value) -> tuple[str | int, dict[str | int, float]]:
    """The class of the largest probability (the first of equals), and every class with its probability.

    `probabilities` holds one number a class, in any shape.
    """
    names = classes.tolist() if isinstance(classes, Tensor) else classes
    values = probabilities.reshape(-1)
    if not isinstance(names, list | tuple) or len(names) != len(values):
        raise ValueError(f"{len(values)} probabilities do not fit the classes")
    return names[int(values.argmax())], dict(zip(names, values.tolist(), strict=True))


KERNELS = (kernel(classify),)
