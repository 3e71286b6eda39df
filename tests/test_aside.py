import fcntl
import os

import pytest

from swiftdeploy.aside import write_all

NAMES = ("a.txt", "b.txt")


def contents(folder, data):
    return {folder / name: data for name in NAMES}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_replaced_and_nothing_stays_aside(tmp_path):
    for data in (b"old", b"new"):
        write_all(contents(tmp_path, data))
        assert names(tmp_path) == list(NAMES)
        assert {(tmp_path / name).read_bytes() for name in NAMES} == {data}


def test_none_is_renamed_before_all_are_on_the_disk(tmp_path, monkeypatch):
    write_all(contents(tmp_path, b"old"))
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_all(contents(tmp_path, b"new"))
    assert {(tmp_path / name).read_bytes() for name in NAMES} == {b"old"}
    assert names(tmp_path) == list(NAMES)


def test_what_the_dead_left_goes_and_what_the_living_hold_stays(tmp_path):
    dead, living, other = (tmp_path / f".{name}.part" for name in ("a.txt.0011", "a.txt.2233", "c.txt.4455"))
    for path in (dead, living, other):
        path.write_bytes(b"half")
    with living.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_all({tmp_path / "a.txt": b"whole"})
        assert not dead.exists()
        assert living.exists(), "somebody writes it at this moment"
        assert other.exists(), "another file's is that file's affair"


def test_one_that_was_swept_before_it_was_locked_is_written_again(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def late(stream, how):
        if not swept:
            swept.extend(tmp_path.glob(".a.txt.*.part"))
            swept[0].unlink()
        lock(stream, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_all({tmp_path / "a.txt": b"whole"})
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    assert len(swept) == 1
