"""Files that are whole or not there, the same bytes every time."""

import os

import pytest

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.reporting import WRITERS, Formats, write
from swiftdeploy.runs import read_run

FILES = {"run.json", "junit.xml", "placement.sarif", "summary.md", "index.html"}


def test_everything_is_written_and_run_json_last(tmp_path, red):
    folder = tmp_path / "a" / "reports"
    written = write(red, folder)
    assert {path.name for path in written} == {path.name for path in folder.iterdir()} == FILES
    assert written[-1] == folder / "run.json"
    assert read_run(folder) == red
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in written} == {(tmp_path / "plain").stat().st_mode}


@pytest.mark.parametrize("which", ["red", "hostile"])
def test_the_same_report_gives_the_same_bytes(tmp_path, request, which):
    report = request.getfixturevalue(which)
    first, second = write(report, tmp_path / "a"), write(report, tmp_path / "b")
    write(report, tmp_path / "a")
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert b"\r" not in a.read_bytes()
        assert str(tmp_path).encode() not in a.read_bytes()


def test_only_what_was_asked_for(tmp_path, green):
    written = write(green, tmp_path, Formats(names=("html", "junit", "html")))
    assert [path.name for path in written] == ["junit.xml", "index.html", "run.json"]
    assert [path.name for path in write(green, tmp_path, Formats(names=()))] == ["run.json"]


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="report 'pdf' is not known") as caught:
        Formats(names=("html", "pdf"))
    assert "sarif" in caught.value.hint
    assert set(Formats().names) == set(WRITERS)


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path, green, red, monkeypatch):
    write(green, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device") as caught:
        write(red, tmp_path)
    assert caught.value.exit_code == 7
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_run_left_aside_goes(tmp_path, green):
    (tmp_path / ".junit.xml.0123456789ab.part").write_text("<testsui")
    write(green, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(name for name, _ in WRITERS.values())


def test_a_folder_that_is_a_file(tmp_path, green):
    (tmp_path / "reports").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        write(green, tmp_path / "reports")
