"""The page in a real browser: Chromium, headless, against a server that writes down every request."""

import html
import json
import os
import re
import shutil
import subprocess
import threading
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from swiftdeploy.reporting.html import run_html

PROBE = Path(__file__).with_name("probe.html")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CONTRAST = 4.5  # WCAG 2.2, 1.4.3, for text of this size
SAID = (
    "parity or budget, exit code 6",
    "13.250 MB, at most",
    "name the model that it was trained as",
    "torch 2.13.0",
    "iPhone14,7, iOS 18.1 (22B83)",
    "keep the channels in one place",
    "75.66 %",
)
# What the policy forbids, and a page that is wrong in every way that the probe looks for.
LEAK = '<img src="/leak.png"><script>alive = true</script>'
UGLY = (
    '<!doctype html><title>x</title><body><h1>a</h1><h3 style="color:#aaa;background:#fff">b</h3><a href="#c">d</a>'
    '<div style="width:900px">e</div><table><tr><th>f</th></tr></table>'
    f'<div style="overflow-x:auto"><div style="width:2000px">g</div></div>{LEAK}</body>'
)

if BROWSER is None and os.environ.get("CI") != "true":
    pytest.skip("there is no Chromium here; CI has one", allow_module_level=True)


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory, green, red, empty, hostile):
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(PROBE, folder / "probe.html")
    for name, report in (("green", green), ("red", red), ("empty", empty), ("hostile", hostile)):
        (folder / f"{name}.html").write_text(run_html(report), encoding="utf-8")
    (folder / "ugly.html").write_text(UGLY)
    page = (folder / "green.html").read_text(encoding="utf-8")
    (folder / "attacked.html").write_text(page.replace("<main>", f"<main>{LEAK}"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as httpd:
        httpd.asked = []
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def look(server, tmp_path_factory):
    """What the probe finds on a page of some width in pixels; "asked" is what was requested meanwhile."""
    fixed = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--virtual-time-budget=5000",
        "--window-size=1400,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    )

    @cache
    def probe(page, width=1200, *, dark=False):
        assert BROWSER is not None, "CI=true, and there is no Chromium: see .ci/run"
        server.asked.clear()
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        address = f"http://127.0.0.1:{server.server_port}/probe.html?page={page}.html&width={width}"
        command = [BROWSER, *fixed, scheme, "--dump-dom", address]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
        found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1]))
        return {**found, "asked": [path for path in server.asked if not path.startswith("/probe.html")]}

    return probe


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_whole_run(look, red, dark):
    found = look("red", dark=dark)
    assert found["asked"] == ["/red.html"]
    assert found["resources"] == []
    assert found["title"] == "swiftdeploy run: failed"
    assert found["scripts"] == 0
    lightness = sum(map(int, re.findall(r"\d+", found["background"])))
    assert lightness < 100 if dark else lightness > 700
    assert found["texts"] > 500
    assert found["worst"]["ratio"] >= CONTRAST, found["worst"]
    text = found["text"]
    for said in SAID:
        assert said in text
    assert text.index("13.250 MB") < text.index("Verdict, size and worst PSNR")
    assert found["bars"] >= 12
    assert found["marks"] == 6 + 12  # six marks in the plot, and a dot for each of twelve rows
    assert all(job.name in text for job in red.jobs)


def test_it_is_in_order(look):
    found = look("red")
    assert found["broken"] == []
    assert len([link for link in found["links"] if link.startswith("#")]) >= 10 + 5
    assert all(link.startswith(("#", "https://")) for link in found["links"])
    assert len(set(found["ids"])) == len(found["ids"])
    headings = found["headings"]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert len(found["tables"]) >= 9
    assert all(table["caption"].strip() and not table["unscoped"] for table in found["tables"])


@pytest.mark.parametrize("page", ["red", "hostile"])
def test_a_narrow_screen_scrolls_tables_and_not_the_page(look, page):
    found = look(page, 320)
    assert found["overflow"] == 0
    assert found["unreachable"] == 0


@pytest.mark.parametrize("page", ["green", "empty"])
def test_quiet_runs(look, page):
    found = look(page)
    assert found["title"] == "swiftdeploy run: passed"
    assert found["broken"] == []
    assert found["worst"]["ratio"] >= CONTRAST
    assert "Failures" not in found["text"]


def test_hostile_names_are_text(look):
    found = look("hostile", 320)
    assert found["asked"] == ["/hostile.html"]
    assert found["resources"] == []
    assert found["scripts"] == 0
    assert '<img src="https://evil.example/x.png" onerror=alert(1)>' in found["text"]
    assert found["broken"] == []


def test_the_policy_holds_even_if_markup_gets_in(look):
    found = look("attacked")
    assert found["scripts"] == 1
    assert not found["alive"]
    assert found["asked"] == ["/attacked.html"]


def test_the_probe_finds_what_is_wrong(look):
    found = look("ugly", 320)
    assert found["alive"]
    assert found["asked"] == ["/ugly.html", "/leak.png"]
    assert found["overflow"] > 500
    assert found["broken"] == ["#c"]
    assert found["headings"] == [1, 3]
    assert found["worst"]["ratio"] < 3
    assert found["tables"] == [{"caption": "", "unscoped": 1}]
    assert found["unreachable"] == 1
