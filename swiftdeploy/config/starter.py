"""The first swiftdeploy.toml of a repository, as text that `read_config` accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from swiftdeploy.config.entries import ModelEntry, Reports

SCHEMA_FILE = "swiftdeploy.schema.json"
_BASELINE = '# baseline = "released/run.json"'
_BUDGETS = """\
# Limits that stop the build. With a baseline they may also be relative: size = { max_ratio = 1.02 }
# [budgets]
# size = { max = "25 MB" }
# parity = { min = 45 }
"""


def starter(
    models: Sequence[tuple[str, ModelEntry]],
    *,
    output: str = "dist",
    reports: Sequence[str] = Reports().formats,
) -> str:
    """The file's text: the models as given, what differs from the defaults, and budgets to uncomment.

    The first line names the schema for editors that complete by it; `SCHEMA_FILE` is written beside the file.
    """
    lines = [f"#:schema ./{SCHEMA_FILE}", f"output = {toml(output)}", _BASELINE, ""]
    for name, entry in models:
        lines += [f"[models.{_key(name)}]", *_lines(entry), ""]
    lines += ["[reports]", f"formats = {toml(list(reports))}", ""]
    return "\n".join(lines) + "\n" + _BUDGETS


def _lines(entry: ModelEntry) -> list[str]:
    always = ("model", "checkpoint", "untrained", "targets", "precisions")
    plain = ModelEntry(checkpoint="")
    keys = [*always, *(key for key in ModelEntry.__dataclass_fields__ if key not in always)]
    values = {key: getattr(entry, key) for key in keys}
    return [
        f"{key} = {toml(value)}"
        for key, value in values.items()
        if value is not None and (key in always or value != getattr(plain, key))
    ]


def toml(value: Any) -> str:
    """A value as TOML writes it: texts escaped, arrays on one line."""
    if isinstance(value, str):
        # JSON's escapes are TOML's; the one character that only TOML forbids is added.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"[{', '.join(toml(item) for item in value)}]"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else toml(name)
