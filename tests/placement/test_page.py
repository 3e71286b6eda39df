"""docs/placement.md says what the tables say, no more and no less."""

import re
from pathlib import Path

import pytest

from swiftdeploy.placement.providers import PROVIDERS
from swiftdeploy.placement.table import RULES

PAGE = Path(__file__).parents[2] / "docs" / "placement.md"


def row(rule):
    who = f"{rule.origin}: {rule.source}"
    return f"| `{rule.id}` | {rule.severity} | {rule.says} | {who} | {rule.confidence} | {rule.remedy} |"


def section(title):
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_rules_are_current():
    found = [line for line in section("Rules").splitlines() if line.startswith("| `")]
    expected = [row(rule) for rule in RULES]
    assert found == expected, "replace the rows of docs/placement.md by:\n" + "\n".join(expected)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_the_providers_are_current(provider):
    text = section("ONNX Runtime's providers")
    assert provider.source in text
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {provider.name} |"))
    listed = re.findall(r"`([\w.:]+)`", line.split("|")[2])
    assert listed == sorted(provider.ops)
