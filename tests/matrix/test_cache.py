"""The cache: what is in it is believed only when every byte is right, and it never grows past its bound."""

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError
from swiftdeploy.matrix import cache as module
from swiftdeploy.matrix.cache import Cache, Entry, Made

PARTS = {"checkpoint": "c", "options": "o", "versions": '{"torch":"1"}'}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("tinywork").tiny


@pytest.fixture
def store(tmp_path):
    return Cache(folder=tmp_path / "cache", max_bytes=10**9)


@pytest.fixture
def add(store, tiny):
    """add(key) puts a tiny bundle into the cache, as a worker does."""

    def put(key, name="a", parts=PARTS):
        with module.holding(store, key), module.adding(store, key) as place:
            place.mkdir()
            tiny.fill(place)
            bundle.attest(place, tiny.describe(place))
            seal = bundle.read_manifest(place).seal
            made = Made(seconds={"load": 1.0}, peak_memory_bytes=5)
            module.describe(place, Entry(version=1, key=key, name=name, parts=parts, made=made, manifest_seal=seal))

    return put


KEY, OTHER = "ab" * 32, "cd" * 32


def test_what_was_added_is_found(store, add):
    assert module.look(store, KEY, PARTS, name="a").entry is None
    add(KEY)
    found = module.look(store, KEY, PARTS, name="a")
    assert (found.reason, found.entry.name, found.entry.made.seconds) == ("", "a", {"load": 1.0})
    bundle.read_bundle(module.bundle_of(store, KEY))
    assert module.peaks(store) == {"a": 5}


def test_the_reason_for_a_miss_is_the_smallest_difference(store, add):
    add(KEY)
    add(OTHER, parts={**PARTS, "options": "p", "checkpoint": "d"})
    looked = module.look(store, "ef" * 32, {**PARTS, "versions": '{"torch":"2"}'}, name="a")
    assert looked.reason == "changed: versions: torch 1 → 2"
    assert module.look(store, "ef" * 32, PARTS, name="b").reason == "not made before, or pruned"


DAMAGES = {
    "a byte of an artifact": lambda p: (p / "bundle" / "tiny-fp32.onnx").write_bytes(b"onnx" * 4 + b"onnz"),
    "a file is gone": lambda p: (p / "bundle" / "labels.txt").unlink(),
    "a file too many": lambda p: (p / "bundle" / "x").touch(),
    "the manifest": lambda p: (p / "bundle" / "manifest.json").write_text("{}"),
    "the bundle is gone": lambda p: (p / "bundle").rename(p / "elsewhere"),
    "no entry": lambda p: (p / "entry.json").unlink(),
    "an empty entry": lambda p: (p / "entry.json").write_text(""),
    "an entry that is no object": lambda p: (p / "entry.json").write_text("[]"),
    "a nested entry": lambda p: (p / "entry.json").write_text("[" * 100_000),
    "other accuracy": lambda p: rewrite(p, lambda plain: plain["made"]["seconds"].update(load=2.0)),
    "another version": lambda p: rewrite(p, lambda plain: plain.update(version=2)),
}


def rewrite(place, change):
    plain = json.loads((place / "entry.json").read_text())
    change(plain)
    (place / "entry.json").write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_entry_is_dropped_and_can_be_made_anew(store, add, what):
    add(KEY)
    DAMAGES[what](store.entries / KEY)
    assert module.listed(store, verify=True)[0].problem
    untouched = module.look(store, KEY, PARTS, name="a", drop=False)
    assert untouched.entry is None
    assert (store.entries / KEY).exists()
    found = module.look(store, KEY, PARTS, name="a")
    assert found.entry is None
    assert found.reason.startswith("the cached one is damaged: ")
    assert list(store.entries.iterdir()) == []
    add(KEY)
    assert module.look(store, KEY, PARTS, name="a").entry is not None


def test_an_entry_of_another_bundle_is_damaged(store, add, tiny):
    add(KEY)
    place = module.bundle_of(store, KEY)
    (place / "labels.txt").write_text("yes\nno\n")
    bundle.attest(place, tiny.describe(place))
    bundle.read_bundle(place)  # sound by itself
    with pytest.raises(ArtifactError, match="another one"):
        module.check(store, KEY)


def test_an_entry_under_another_key_is_damaged(store, add):
    add(KEY)
    (store.entries / KEY).rename(store.entries / OTHER)
    with pytest.raises(ArtifactError, match="another entry's"):
        module.check(store, OTHER)


def test_the_longest_unused_go_first_whatever_the_clock_says(store, add):
    for number, key in enumerate((KEY, OTHER, "ef" * 32)):
        add(key)
        os.utime(store.entries / key / "entry.json", (number, number))
    module.look(store, KEY, PARTS, name="a")  # used just now
    one = module.listed(store)[0].bytes
    assert [entry.key for entry in module.prune(store, max_bytes=2 * one, dry=True)] == [OTHER]
    assert len(module.listed(store)) == 3
    os.utime(store.entries / KEY / "entry.json", (2**33, 2**33))  # a clock that jumped
    removed = module.prune(store, max_bytes=2 * one)
    assert [entry.key for entry in removed] == [OTHER]
    assert module.prune(store) == ()
    assert len(module.prune(store, max_bytes=0)) == 2
    assert module.listed(store) == ()


def test_an_entry_in_use_is_not_pruned(store, add):
    add(KEY)
    with module.holding(store, KEY, shared=True):
        assert module.prune(store, max_bytes=0) == ()
    assert len(module.prune(store, max_bytes=0)) == 1


def test_older_versions_and_dead_runs_are_cleared_away_and_newer_versions_kept(store, add):
    for name in ("v0", "v2", "vnext", "photos"):
        (store.folder / name).mkdir(parents=True)
    add(KEY)
    half = store.entries / f".{OTHER}.0123456789ab.staging"
    (half / "bundle").mkdir(parents=True)
    module.prune(store)
    assert sorted(p.name for p in store.folder.iterdir()) == ["photos", "v1", "v2", "vnext"]
    assert [p.name for p in store.entries.iterdir()] == [KEY]


def test_a_damaged_one_is_pruned_when_every_byte_is_looked_at(store, add):
    add(KEY)
    DAMAGES["a byte of an artifact"](store.entries / KEY)
    assert module.prune(store) == ()
    assert [entry.key for entry in module.prune(store, verify=True)] == [KEY]


def test_a_cache_that_is_not_there_is_empty(store):
    assert module.listed(store) == module.prune(store) == ()
    assert module.peaks(store) == {}
    assert not store.folder.exists()


def test_foreign_files_among_the_entries_do_no_harm(store, add):
    add(KEY)
    (store.entries / "notes.txt").write_text("x")
    (store.entries / "link").symlink_to("/")
    (store.entries / OTHER).symlink_to("/")
    assert [(entry.key, entry.problem) for entry in module.listed(store, verify=True)] == [(KEY, "")]
    assert module.look(store, KEY, PARTS, name="a").entry is not None


def test_nothing_is_left_when_making_fails(store):
    with contextlib.suppress(ValueError), module.holding(store, KEY), module.adding(store, KEY) as place:
        place.mkdir()
        raise ValueError
    assert not list(store.folder.rglob("*staging*"))
    assert module.listed(store) == ()


@pytest.mark.parametrize(
    ("system", "xdg", "expected"),
    [
        ("linux", "", ".cache/swiftdeploy"),
        ("darwin", "", "Library/Caches/swiftdeploy"),
        ("linux", "/elsewhere", "/elsewhere/swiftdeploy"),
        ("darwin", "/elsewhere", "/elsewhere/swiftdeploy"),
        ("linux", "relative", ".cache/swiftdeploy"),  # the standard says: ignore it
    ],
)
def test_the_platforms_folder(monkeypatch, system, xdg, expected):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert module.default_folder() == Path.home() / expected
