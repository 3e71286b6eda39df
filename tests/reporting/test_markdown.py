"""The summary: order, figures, and that nothing of a report becomes markup."""

import dataclasses
import html
import re

import pytest

from swiftdeploy import runs
from swiftdeploy.errors import ArtifactError
from swiftdeploy.reporting.markdown import append_summary, escaped, summary_markdown


def tables(text):
    """Every table as lists of cells, split at the pipes that GitHub would split at."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            found.append(rows)
            rows = []
    return found


def test_what_failed_comes_first_with_its_reason(red):
    text = summary_markdown(red)
    assert text.startswith("## swiftdeploy: failed (parity or budget, exit code 6)\n")
    order = [text.index(part) for part in ("What failed", "13.250 MB", "name the model that", "Warnings", "Matrix")]
    assert order == sorted(order)
    assert "5 jobs: 1 passed, 1 cached, 2 failed, 1 skipped." in text


def test_the_matrix_has_a_row_for_each_artifact(red):
    matrix, changes = tables(summary_markdown(red))
    assert len(matrix) == 2 + 5 * 4
    assert all(len(row) == 7 for row in matrix)
    rows = {html.unescape(row[1]): row for row in matrix}
    assert rows["swiftformer_s-fp16.mlpackage"][2:] == ["❌ fail", "13.250 MB", "+7.94 %", "67.7 dB", "77.06 %"]
    assert rows["swiftformer_xs-fp32.mlpackage"][5] == "exact"
    assert rows["mobilevitv2_050-fp16.onnx"][2:] == ["❌ fail", "—", "—", "—", "—"]
    assert rows["swiftformer_l3-fp16.onnx"][2] == "⏭️ skip"
    assert {row[0] for row in changes[2:]} == {"swiftformer&#95;s"}
    assert ["top-1", "78.50 %", "77.10 %", "\u22121.40 pt"] in [row[2:] for row in changes]


def test_a_green_run_is_short(green):
    text = summary_markdown(green)
    assert text.startswith("## swiftdeploy: passed\n")
    assert "failed" not in text
    assert "baseline" not in text.replace("against baseline", "")


def test_an_equal_baseline_is_said_to_be(green):
    job = dataclasses.replace(green.jobs[0], baseline=green.jobs[0].summary)
    text = summary_markdown(dataclasses.replace(green, jobs=(job,), baseline="run.json"))
    assert "### Difference to the baseline run.json\n\nEvery figure is the baseline's." in text


def test_an_empty_run(empty):
    assert "0 jobs: none." in summary_markdown(empty)


def test_hostile_text_is_shown_letter_by_letter(hostile):
    text = summary_markdown(hostile)
    assert "<img" not in text
    assert "://" not in text
    assert "](" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert all(len(row) in (6, 7) for table in tables(text) for row in table)
    assert 'a|b <img src="https://evil.example/x.png"' in html.unescape(text)


@pytest.mark.parametrize(
    "text", ["# a", "- a", "+ a", "=== ", "a|b", "<b>", "@team", "[a](b)", "`a`", "*a*", "&lt;", "~~a~~"]
)
def test_an_escape_can_be_undone_and_holds_no_markup(text):
    shown = escaped(text)
    assert html.unescape(shown) == text.strip()
    assert not set("|<>@[]`*~") & set(shown)
    assert not re.match(r"[-+=#]", shown.replace("&#", ""))


def test_a_thousand_problems_stay_below_githubs_limit(green):
    check = runs.Check(name="budget.x", subject="", verdict="fail", message="|" * 5000, exit_code=6)
    job = dataclasses.replace(green.jobs[0], checks=(check,) * 300)
    text = summary_markdown(dataclasses.replace(green, jobs=(job,) * 300))
    assert len(text.encode()) < 1 << 20
    assert "and 89950 more" in text


def test_the_step_summary_is_appended(tmp_path, green):
    path = tmp_path / "summary"
    path.write_text("before\n")
    assert append_summary(green, {"GITHUB_STEP_SUMMARY": str(path)}) == path
    assert path.read_text(encoding="utf-8") == f"before\n{summary_markdown(green)}\n"
    assert append_summary(green, {}) is None
    assert append_summary(green, {"GITHUB_STEP_SUMMARY": ""}) is None


def test_a_step_summary_that_cannot_be_written(tmp_path, green):
    with pytest.raises(ArtifactError, match="GITHUB_STEP_SUMMARY cannot be written"):
        append_summary(green, {"GITHUB_STEP_SUMMARY": str(tmp_path)})
