"""The two values of this room: weights as read, and the module made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from swiftdeploy.report import Provenance
from swiftdeploy.spec import Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Weights as stored: CPU tensors in their stored dtypes under the keys of the file.

    `source` is the file's or folder's name, or the hub id; never a path. `sha256` is the weight file's, and for a
    sharded checkpoint that of the lines "sha256  name", sorted by name. `format` is one of "safetensors",
    "safetensors-sharded", "pytorch", "pytorch-sharded", "pytorch-legacy". `config` is config.json, with
    preprocessor_config.json under the key of that name. `ignored` names entries that are no tensors; `notes` say
    in sentences what was chosen on the way.
    """

    state: Mapping[str, Tensor]
    source: str
    sha256: str
    format: str
    config: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The oracle: an fp32 module on the CPU, in eval mode, without gradients, and where its weights came from.

    `arguments` are what its factory was called with; `preprocessing` is how its images are prepared.
    """

    module: nn.Module
    provenance: Provenance
    preprocessing: Preprocessing
    arguments: Mapping[str, Any] = field(default_factory=dict)
