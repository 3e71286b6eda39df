"""A Core ML package becomes a smaller one: coremltools does the compressing, this room decides, records and checks.

`plan_weights` decides for each weight, `compress` writes the package, `dense_weights` reads back what its weights are
worth, and `check_weights` holds that against what they were. Nothing here knows of a model, a checkpoint or parity.
"""

from swiftdeploy.compress.activations import Quantized, quantize_activations
from swiftdeploy.compress.apply import check_libraries, compress
from swiftdeploy.compress.check import check_weights
from swiftdeploy.compress.dense import dense_weights
from swiftdeploy.compress.mix import KEPT, Mix, Option, filled, front, mixes, recipe_of
from swiftdeploy.compress.plan import Plan, names_of, plan_weights
from swiftdeploy.compress.record import kept, stored_sizes, tensor_records
from swiftdeploy.compress.weights import Weight, read_weights, stem

__all__ = [
    "KEPT",
    "Mix",
    "Option",
    "Plan",
    "Quantized",
    "Weight",
    "check_libraries",
    "check_weights",
    "compress",
    "dense_weights",
    "filled",
    "front",
    "kept",
    "mixes",
    "names_of",
    "plan_weights",
    "quantize_activations",
    "read_weights",
    "recipe_of",
    "stem",
    "stored_sizes",
    "tensor_records",
]
