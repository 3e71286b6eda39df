"""Same input, same options, same versions: same bytes, in any process, on any day."""

import datetime
import json
import subprocess
import sys


def content(bundle):
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in sorted(bundle.rglob("*")) if p.is_file()}


def test_two_processes_on_two_days_write_the_same_bytes(digits_bundle, digits_elsewhere):
    elsewhere, process = digits_elsewhere
    assert process.returncode == 0, process.stderr
    here, there = content(digits_bundle), content(elsewhere)
    assert sorted(here) == sorted(there)
    assert len(here) == 14
    assert [name for name in here if here[name] != there[name]] == []


def test_the_other_process_did_believe_in_another_day(digits_elsewhere):
    """Else the test above proves nothing."""
    site = digits_elsewhere[0].parent.parent / "site"
    code = "import datetime, time; print(datetime.date.today(), datetime.datetime.now().year, int(time.time()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1999-12-31", "1999", "946684799"]


def test_nothing_in_a_manifest_tells_the_day_or_the_place(digits_bundle, digits):
    text = (digits_bundle / "manifest.json").read_text()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for trace in (str(today), today.strftime("%Y-%m"), "1999", str(digits_bundle.parent), str(digits)):
        assert trace not in text, trace
    assert json.loads(text)["provenance"]["source"] == "swiftformer_digits.pth"
