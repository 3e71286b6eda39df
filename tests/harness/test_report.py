"""The page: that it is one file, says what was measured, and hides nothing that should give pause."""

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.harness import measurement as values
from swiftdeploy.harness.compare import compare
from swiftdeploy.harness.report import notes, report_html
from swiftdeploy.spec import Published

A, B = "a-fp16", "b-fp16"
PUBLISHED = {"a": (Published(metric="latency_ms", value=0.7, source="README", device="iPhone 14, iOS 16"),)}
VOID = {"meta", "path", "br"}


class Balanced(HTMLParser):
    """Fails where a tag closes what is not open; collects text and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        optional = {"tr", "td", "th", "li"}
        while self.open and self.open[-1] != tag and self.open[-1] in optional:
            self.open.pop()
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parse(page):
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def runs(make_plan, measure):
    plan = make_plan("a", "b")
    truth = {(A, "all"): 1.0, (A, "cpuOnly"): 3.0, (B, "all"): 2.0, (B, "cpuOnly"): 6.0}
    return [measure(plan, truth, seed=i, launch=f"launch-{i}") for i in range(3)]


@pytest.fixture
def page(runs):
    found = compare(runs, runs, model_a=B, model_b=A, published=PUBLISHED)
    return report_html(runs, comparisons=found, published=PUBLISHED)


def test_it_is_one_well_formed_file_without_a_network(page):
    parsed = parse(page)
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link|<img", page)
    assert {name for name, _ in parsed.attributes}.isdisjoint({"src", "href", "onload", "onclick"})
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_it_says_what_was_measured(page, runs):
    text = " ".join(parse(page).texts)
    for wanted in (
        "iPhone14,7, iOS 16.0 (20A362)", A, B, "cpuOnly", "clean run", "3 launches", "Placement", "Drift",
        "Five times", "Parity on the device", "by Xcode", "faster", "paired", runs[0].plan.models[0].sha256,
    ):  # fmt: skip
        assert wanted in text
    assert "not to be quoted" not in text


def test_published_figures_are_marked(page, runs):
    text = " ".join(parse(page).texts)
    assert "iPhone 14, iOS 16 (published)" in text
    assert "README" in text
    assert 'class="fill m0 published"' in page
    assert 'm0 published"' not in report_html(runs)


def test_figures_on_the_page_are_the_figures(page, runs):
    for pair in runs[0].pairs:
        digits = f"{pair.statistics.estimate_ms:.2f}"
        assert f"<b>{digits} ms</b>" in page


def test_spoilt_runs_say_so(runs):
    process = values.ProcessFacts(debug_build=True, debugger_attached=False, host="app")
    page = report_html([dataclasses.replace(runs[0], process=process, invalid=("debug_build",))])
    assert "not to be quoted: debug_build" in page
    assert "clean run" not in page


def test_phones_do_not_share_a_section(runs, phone):
    other = dataclasses.replace(runs[1], device=phone("iPhone17,1", "18.1", "22B83"))
    page = report_html([runs[0], other])
    first, second = page.split("<h2>")[1:]
    assert first.startswith("iPhone14,7")
    assert second.startswith("iPhone17,1")
    assert "1 launch," in first
    assert "three launches or more" in first


def test_names_cannot_become_markup(runs):
    device = dataclasses.replace(runs[0].device, model="<b>x</b>&")
    page = report_html([dataclasses.replace(runs[0], device=device)])
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;&amp;" in page


def test_nothing_measured_is_nothing_to_report():
    with pytest.raises(UsageError, match="nothing to report"):
        report_html([])


def change(run, **changes):
    return dataclasses.replace(run, pairs=(dataclasses.replace(run.pairs[0], **changes), *run.pairs[1:]))


def test_a_clean_run_has_no_notes(runs):
    assert notes(runs[0]) == ()


def test_ops_off_the_neural_engine_are_named_where_it_was_allowed(runs):
    page = report_html(runs)
    assert page.count("linear linear_0 (cpu)") == 2  # two models on "all"; "cpuOnly" has no choice to tell of
    assert "softmax softmax_0 (gpu)" in page
    assert "conv conv_0" not in page


@pytest.mark.parametrize("status", ["timed_out", "failed", "crashed"])
def test_a_failed_unit_is_noted_and_the_rest_shown(runs, status):
    failed = change(
        runs[0], status=status, reason="no answer", rounds=(), statistics=None, load=None, parity=(), placement=()
    )
    assert any("no answer" in note for note in notes(failed))
    assert "no answer" in report_html([failed])


def test_what_gives_pause_is_noted(runs):
    pair = runs[0].pairs[0]
    drifted = dataclasses.replace(pair.statistics, drift=0.08)
    restless = tuple(dataclasses.replace(r, warm_up=values.WarmUp(predictions=400, settled=False)) for r in pair.rounds)
    copied = dataclasses.replace(pair.load, output_backings=False)
    warned = tuple(dataclasses.replace(p, verdict="warn") for p in pair.parity)
    cases = [
        ({"statistics": drifted}, "drifted by +8.0%"),
        ({"rounds": restless}, "did not settle"),
        ({"load": copied}, "output buffers"),
        ({"parity": warned}, "parity of logits: warn"),
        ({"weights_sha256": "3" * 64}, "weights are not those"),
    ]
    for changes, words in cases:
        (note,) = notes(change(runs[0], **changes))
        assert words in note
        assert words.split("+")[0] in report_html([change(runs[0], **changes)])


def test_ops_without_a_cost_are_counted(runs):
    ops = tuple(dataclasses.replace(op, cost=None) for op in runs[0].pairs[0].placement)
    page = report_html([change(runs[0], placement=ops)])
    assert "of 3 ops (by count)" in page
    assert "NE 33 %, GPU 33 %, CPU 33 %" in page


def test_a_browser_lays_it_out_without_overflow(page, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not on the PATH: the report was not laid out")
    probe = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    (tmp_path / "page.html").write_text(page.replace("</body>", probe))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom",
         (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert re.search(r"<title>(-?\d+)</title>", done.stdout), done.stderr[-500:]
    assert int(re.search(r"<title>(-?\d+)</title>", done.stdout)[1]) <= 0
