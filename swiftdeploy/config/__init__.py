"""swiftdeploy.toml: the models that a repository pins, parsed once into frozen values. Standard library only.

    output = "dist"

    [models.digits]
    model = "swiftformer_digits"
    checkpoint = "weights/digits.pth"
    attention = "token_l2"
    targets = ["coreml", "onnx"]

    [budgets]
    size = { max = "4 MB" }

Paths are relative to the file. An unknown key, a wrong type or an impossible combination is an error with its line.
"""

from swiftdeploy.config.budgets import Budgets, bytes_of
from swiftdeploy.config.decode import Place
from swiftdeploy.config.entries import (
    FILE_NAME,
    HUB,
    REPORT_FILES,
    CacheSettings,
    Config,
    ModelEntry,
    ReportFormat,
    Reports,
)
from swiftdeploy.config.lines import Path as KeyPath
from swiftdeploy.config.read import check_baselines, make_config_schema, options_of, parse_config, read_config
from swiftdeploy.config.starter import SCHEMA_FILE, starter

__all__ = [
    "FILE_NAME",
    "HUB",
    "REPORT_FILES",
    "SCHEMA_FILE",
    "Budgets",
    "CacheSettings",
    "Config",
    "KeyPath",
    "ModelEntry",
    "Place",
    "ReportFormat",
    "Reports",
    "bytes_of",
    "check_baselines",
    "make_config_schema",
    "options_of",
    "parse_config",
    "read_config",
    "starter",
]
