"""The rows that swiftdeploy finds through the entry point `swiftdeploy.models`. Imports no torch."""

from __future__ import annotations

from swiftdeploy.spec import ModelSpec

MODELS: tuple[ModelSpec, ...] = ()
