"""The page as text: what needs no browser. What a browser makes of it is in test_browser.py."""

import base64
import dataclasses
import hashlib
import re

import pytest

from swiftdeploy.reporting.html import external, run_html


@pytest.fixture(scope="module")
def page(red):
    return run_html(red)


def test_the_policy_names_the_one_style_that_there_is(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert page.count("<style") == 1


@pytest.mark.parametrize("part", ["<script", "<link", "<img", " style=", "@import", "url(", "@font-face", " src="])
def test_nothing_could_be_loaded(page, part):
    inside = re.sub(r">[^<]*<", "><", page) if part == " src=" else page
    assert part not in inside


def test_sections_without_figures_are_left_out(green, empty):
    bare = dataclasses.replace(green.jobs[0].summary, placement=(), latency=(), accuracy=())
    page = run_html(dataclasses.replace(green, jobs=(dataclasses.replace(green.jobs[0], summary=bare),)))
    assert set(re.findall(r'<h2 id="(\w+)"', page)) == {"matrix", "parity", "sizes", "fusing", "jobs"}
    assert re.findall(r'<h2 id="(\w+)"', run_html(empty)) == []


def test_jobs_keep_their_order(page, red):
    rows = re.findall(r'<tr class="group"><th[^>]*>([^<]*)<', page.split('id="sizes"')[1].split("</section>")[0])
    assert rows == ["swiftformer_xs", "swiftformer_s", "swiftformer_l1"]


def test_parity_has_a_column_for_each_leg(page):
    table = page.split('id="parity"')[1].split("</section>")[0]
    assert re.findall(r'<th scope="col" class="n">(\w+)</th>', table) == [
        "gate",
        "fusion",
        "outputs",
        "stress",
        "weights",
        "golden",
    ]
    assert "71.2 dB warn" in table
    assert "214 equal" in table


def test_hostile_text_is_escaped_and_visible(hostile):
    page = run_html(hostile)
    assert "<img" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)
    assert set(re.findall(r'href="([^"#][^"]*)"', page)) == {
        "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html"
    }


@pytest.mark.parametrize("source", ["javascript:alert(1)", "http://a.example", "https://a b", "https://a\n", "a"])
def test_only_addresses_become_links(source):
    assert external(source) == ""
    assert external("https://a.example/b") == "https://a.example/b"


def test_many_places_are_cut_with_a_count(green):
    summary = green.jobs[0].summary
    plain = dict(summary.placement[0])
    engine = dict(plain["neural_engine"])
    engine["findings"] = [{**finding, "hits": finding["hits"] * 30} for finding in engine["findings"]]
    summary = dataclasses.replace(summary, placement=({**plain, "neural_engine": engine},))
    page = run_html(dataclasses.replace(green, jobs=(dataclasses.replace(green.jobs[0], summary=summary),)))
    assert "and 168 more, in placement.sarif and run.json" in page
