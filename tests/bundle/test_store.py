"""A folder appears whole or not at all: when the block raises, when the process dies, when the disk is full."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swiftdeploy.bundle import check_destination, discard, held, placed, staged, store, sweep, write_whole
from swiftdeploy.errors import ArtifactError, UsageError

KILLING = Path(__file__).with_name("killing.py")
# An attempt to fill one bundle with argv[2] bytes; the exit code and the two lines are what the tests look at.
FILLING = """
import os
import sys
from pathlib import Path
from swiftdeploy.bundle import staged
from swiftdeploy.errors import SwiftdeployError
try:
    with staged(Path(sys.argv[1]), force=True) as folder:
        (folder / "manifest.json").write_text("{}")
        (folder / "weights.bin").write_bytes(bytes(int(sys.argv[2])))
except SwiftdeployError as error:
    print(error.fact, error.hint, sep="\\n")
    sys.exit(error.exit_code)
"""


def put(destination, text, *, force=False):
    with staged(destination, force=force) as folder:
        (folder / "manifest.json").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_at_the_end(tmp_path):
    destination = tmp_path / "dist" / "deep" / "model"
    with staged(destination, force=False) as folder:
        (folder / "manifest.json").write_text("1")
        assert folder.parent == destination.parent
        assert not destination.exists()
    assert names(destination) == ["manifest.json"]
    assert names(destination.parent) == ["model"]


def test_its_mode_is_that_of_any_new_folder(tmp_path):
    (tmp_path / "plain").mkdir()
    put(tmp_path / "model", "1")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def put_half(destination, error, *, force=False):
    with staged(destination, force=force) as folder:
        (folder / "manifest.json").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_nothing_when_the_block_raises(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        put_half(tmp_path / "dist" / "deep" / "model", error)
    assert caught.value is error
    assert names(tmp_path) == []


def test_the_old_bundle_stays_when_the_block_raises(tmp_path):
    put(tmp_path / "model", "old")
    with pytest.raises(ValueError, match="no"):
        put_half(tmp_path / "model", ValueError("no"), force=True)
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_parents_that_hold_something_else_stay(tmp_path):
    with contextlib.suppress(ValueError), staged(tmp_path / "new" / "model", force=False):
        (tmp_path / "new" / "other").mkdir()
        raise ValueError
    assert names(tmp_path / "new") == ["other"]


@pytest.mark.parametrize("swap", [True, False])
def test_force_exchanges(tmp_path, monkeypatch, swap):
    if not swap:
        monkeypatch.setattr(store, "_exchange", lambda one, other: False)
    put(tmp_path / "model", "old")
    (tmp_path / "model" / "stale.txt").touch()
    put(tmp_path / "model", "new", force=True)
    assert names(tmp_path / "model") == ["manifest.json"]
    assert (tmp_path / "model" / "manifest.json").read_text() == "new"
    assert names(tmp_path) == ["model"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system call under test is Linux's")
def test_the_exchange_is_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert store._exchange(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path / "a") == ["b"]
    assert not store._exchange(tmp_path / "a", tmp_path / "missing")


def test_the_old_bundle_comes_back_when_the_second_rename_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_exchange", lambda one, other: False)
    put(tmp_path / "model", "old")
    rename = Path.rename

    def refuse(self, target):
        if self.name.endswith(".staging"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ArtifactError, match="Input/output error"):
        put(tmp_path / "model", "new", force=True)
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_an_old_bundle_that_a_dead_run_had_put_aside_comes_back(tmp_path):
    put(tmp_path / "model", "old")
    (tmp_path / "model").rename(tmp_path / ".model.0123456789ab.old")
    with pytest.raises(UsageError, match="exists already"):
        put(tmp_path / "model", "new")
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    (tmp_path / ".model.0123456789ab.old").mkdir()
    put(tmp_path / "model", "new", force=True)
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_a_destination_that_is_no_folder(tmp_path, kind, force):
    destination = tmp_path / "model"
    (tmp_path / "folder").mkdir()
    if kind == "file":
        destination.write_text("precious")
    else:
        destination.symlink_to("folder" if kind == "link" else "nowhere")
    with pytest.raises(UsageError, match="exists and is no folder"):
        put(destination, "x", force=force)
    assert names(tmp_path) == ["folder", "model"]


@pytest.mark.parametrize("kind", ["file", "broken link"])
@pytest.mark.parametrize("below", ["model", "deep/model"])
def test_a_destination_below_what_is_no_folder(tmp_path, kind, below):
    if kind == "file":
        (tmp_path / "dist").write_text("precious")
    else:
        (tmp_path / "dist").symlink_to("nowhere")
    with pytest.raises(UsageError, match="cannot be written: dist is no folder") as caught:
        check_destination(tmp_path / "dist" / below, force=False)
    assert "another folder" in caught.value.hint
    assert names(tmp_path) == ["dist"]


@pytest.mark.parametrize("force", [False, True])
def test_a_foreign_folder_is_never_replaced(tmp_path, force):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r"no bundle: it holds holiday\.jpg") as caught:
        put(tmp_path / "photos", "x", force=force)
    assert caught.value.exit_code == 2
    assert names(tmp_path / "photos") == ["holiday.jpg"]


def test_an_existing_bundle_needs_force(tmp_path):
    put(tmp_path / "model", "old")
    with pytest.raises(UsageError, match="exists already") as caught:
        check_destination(tmp_path / "model", force=False)
    assert "--force" in caught.value.hint
    check_destination(tmp_path / "model", force=True)


def test_an_empty_folder_counts_as_nobodys_with_force(tmp_path):
    (tmp_path / "model").mkdir()
    put(tmp_path / "model", "new", force=True)
    assert names(tmp_path / "model") == ["manifest.json"]


def test_a_bundle_that_came_meanwhile_is_kept(tmp_path):
    mine = staged(tmp_path / "model", force=False)
    (mine.__enter__() / "manifest.json").write_text("mine")
    put(tmp_path / "model", "theirs")
    with pytest.raises(UsageError, match="model exists already") as caught:
        mine.__exit__(None, None, None)
    assert "--force" in caught.value.hint
    assert (tmp_path / "model" / "manifest.json").read_text() == "theirs"
    assert names(tmp_path) == ["model"]


def test_a_file_that_came_meanwhile_is_kept(tmp_path):
    mine = staged(tmp_path / "model", force=False)
    (mine.__enter__() / "manifest.json").write_text("mine")
    (tmp_path / "model").write_text("theirs")
    with pytest.raises(UsageError, match="exists and is no folder"):
        mine.__exit__(None, None, None)
    assert (tmp_path / "model").read_text() == "theirs"
    assert names(tmp_path) == ["model"]


def test_two_runs_at_once_do_not_meet(tmp_path):
    with staged(tmp_path / "model", force=True) as one, staged(tmp_path / "model", force=True) as two:
        assert one != two
        (one / "manifest.json").write_text("one")
        (two / "manifest.json").write_text("two")
    assert (tmp_path / "model" / "manifest.json").read_text() == "one"  # the outer block ends last
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("name", ["model", "odd [name]*?", "größe"])
def test_folders_of_dead_runs_are_swept_and_those_of_live_ones_kept(tmp_path, name):
    """A dead run's lock is gone, whatever its process id; two processes hold the other lock, this one and none."""
    dead = tmp_path / f".{name}.{os.getpid()}.staging"
    (dead / "half").mkdir(parents=True)
    other = tmp_path / ".other.0123456789ab.staging"
    other.mkdir()
    with staged(tmp_path / name, force=True) as live:
        assert not dead.exists()
        put(tmp_path / name, "1", force=True)
        assert live.exists()
        (live / "manifest.json").write_text("2")
    assert names(tmp_path) == sorted([other.name, name])


def test_a_link_that_is_named_like_a_staging_folder_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".model.0.staging").symlink_to("precious")
    put(tmp_path / "model", "1")
    assert names(tmp_path / "precious") == ["file"]


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    stale = tmp_path / ".model.0.staging"
    stale.mkdir()
    monkeypatch.setattr(store.fcntl, "flock", none)
    put(tmp_path / "model", "1")
    assert stale.exists()  # nobody can tell whose it is
    assert (tmp_path / "model" / "manifest.json").exists()


def test_a_folder_that_another_run_sweeps_is_claimed_anew(tmp_path, monkeypatch):
    tries = []
    flock = store.fcntl.flock

    def lose_twice(descriptor, operation):
        tries.append(descriptor)
        if len(tries) == 1:
            raise BlockingIOError
        if len(tries) == 2:
            shutil.rmtree(next(tmp_path.glob(".model.*")), ignore_errors=True)
            for path in tmp_path.glob(".model.*"):
                path.rmdir()
        flock(descriptor, operation)

    monkeypatch.setattr(store.fcntl, "flock", lose_twice)
    put(tmp_path / "model", "1")
    assert len(tries) == 3
    assert (tmp_path / "model" / "manifest.json").exists()


def test_no_descriptor_is_left_open(tmp_path):
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(5):
        put(tmp_path / "model", str(number), force=True)
        with contextlib.suppress(ValueError), staged(tmp_path / "model", force=True):
            raise ValueError
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("seed", ["one", "two"])
def test_sigkill_at_any_moment(tmp_path, seed):
    """20 kills a seed. While the children write, the reader never sees half a bundle, an older one, or none."""
    done = subprocess.run(
        [sys.executable, str(KILLING), str(tmp_path / "dist" / "model"), "20", seed],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    latest, left, remaining = done.stdout.split(maxsplit=2)
    assert int(latest) > 0  # some kill came after a whole bundle,
    assert int(left) > 0  # some amid the writing of one,
    assert remaining.strip() == "['model']"  # and the next run left nothing of it


@pytest.mark.parametrize("step", ["claim", "write", "flush", "commit"])
def test_a_disk_that_refuses_at_any_step(tmp_path, monkeypatch, step):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    put(tmp_path / "model", "old")
    if step != "write":
        monkeypatch.setattr(store, f"_{step}", full)
    with pytest.raises(ArtifactError, match="No space left on device") as caught:
        put(tmp_path / "model", "new", force=True) if step != "write" else write_full(tmp_path / "model", full)
    assert caught.value.exit_code == 7
    assert "free space" in caught.value.hint
    assert "-o" not in caught.value.hint  # sign, init and an import write here too, and have none
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    assert names(tmp_path) == ["model"]


def write_full(destination, full):
    with staged(destination, force=True):
        full()


def fill(where, size, *, wrapped=(), before="", namespace=False):
    """The finished process that tried to put `size` bytes at `where`."""
    command = [*wrapped, sys.executable, "-c", FILLING, str(where), str(size)]
    if before or namespace:
        command = ["sh", "-c", f'{before} exec "$@"', "sh", *command]
    if namespace:
        command = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", *command]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def namespaces():
    """Whether a process of ours may have mounts of its own."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def mounts():
    if not namespaces():
        pytest.skip("no mount namespaces here")


def test_a_full_disk(tmp_path, mounts):
    """A real one: a tmpfs of 64 kB that only the child sees; what it leaves there is listed before it goes."""
    folder = shlex.quote(str(tmp_path))
    inner = f"mount -t tmpfs -o size=64k none {folder} &&"
    tail = f'"$@"; code=$?; ls -A {folder} {folder}/dist 2>/dev/null; exit $code; :'
    done = fill(tmp_path / "dist" / "model", 1 << 20, before=f"{inner} {tail}", namespace=True)
    assert done.returncode == 7, done.stderr
    fact, hint, *left = done.stdout.splitlines()
    assert "cannot be written: No space left on device" in fact
    assert "free space" in hint
    assert left == [f"{tmp_path}:"]


def test_a_read_only_disk(tmp_path, mounts):
    folder = shlex.quote(str(tmp_path))
    inner = f"mount -t tmpfs none {folder} && mkdir {folder}/dist && mount -o remount,ro {folder} &&"
    done = fill(tmp_path / "dist" / "model", 10, before=inner, namespace=True)
    assert done.returncode == 7, done.stderr
    assert f"cannot be written: {tmp_path}/dist is read-only" in done.stdout


def test_a_limit_on_file_sizes(tmp_path):
    done = fill(tmp_path / "dist" / "model", 1 << 20, before="ulimit -f 16;")
    assert done.returncode == 7, done.stderr
    assert "cannot be written: File too large" in done.stdout
    assert names(tmp_path) == []


def test_a_folder_that_one_may_not_write_to(tmp_path, ordinary):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = fill(locked / "dist" / "model", 10, wrapped=ordinary)
    assert done.returncode == 7, done.stderr
    assert f"cannot be written: {locked} is read-only" in done.stdout
    assert names(locked) == []


def test_a_place_that_one_may_not_look_at(tmp_path, ordinary):
    locked = tmp_path / "locked"
    (locked / "dist").mkdir(parents=True)
    locked.chmod(0o000)
    done = fill(locked / "dist" / "model", 10, wrapped=ordinary)
    locked.chmod(0o700)
    assert done.returncode == 7, done.stderr
    assert "Permission denied" in done.stdout


def test_a_copy_that_failed_says_why_in_a_few_words(tmp_path):
    long = ("a" * 300, "b" * 300, f"[Errno 28] No space left on device: '{'a' * 300}' -> 'b'")
    with pytest.raises(ArtifactError) as caught, staged(tmp_path / "model", force=False):
        raise shutil.Error([long, long])
    assert caught.value.fact.endswith("cannot be written: No space left on device")


def test_any_folder_may_be_placed_and_replaced(tmp_path):
    for text in ("old", "new"):
        with placed(tmp_path / "entry", replace=True) as folder:
            (folder / "entry.json").write_text(text)
    assert (tmp_path / "entry" / "entry.json").read_text() == "new"
    assert names(tmp_path) == ["entry"]


def test_a_discarded_folder_is_gone_and_what_is_not_there_is_no_fault(tmp_path):
    put(tmp_path / "model", "old")
    discard(tmp_path / "model")
    discard(tmp_path / "model")
    assert names(tmp_path) == []


def test_sweeping_a_whole_folder(tmp_path):
    for name in (".a.0123456789ab.staging", ".b.c.0123456789ab.staging", ".staging"):
        (tmp_path / name / "deep").mkdir(parents=True)
    put(tmp_path / "model", "old")
    (tmp_path / "model").rename(tmp_path / ".model.0123456789ab.old")
    with staged(tmp_path / "other", force=True) as live:
        sweep(tmp_path)
        assert names(tmp_path) == sorted([".staging", live.name, "model"])
        (live / "manifest.json").touch()


def test_a_text_is_replaced_whole(tmp_path):
    path = tmp_path / "reports" / "run.json"
    write_whole(path, "old")
    (path.parent / ".run.json.0123456789ab.part").write_text("half")
    write_whole(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert names(path.parent) == ["run.json"]


def test_a_text_that_the_disk_refuses_leaves_the_old_one(tmp_path, monkeypatch):
    write_whole(tmp_path / "run.json", "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ArtifactError, match="No space left"):
        write_whole(tmp_path / "run.json", "new")
    assert (tmp_path / "run.json").read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_a_held_lock_excludes_others_until_it_is_left(tmp_path):
    path = tmp_path / "locks" / "a"
    with held(path) as first, held(path, wait=False) as second, held(path, wait=False, shared=True) as third:
        assert (first, second, third) == (True, False, False)
    with held(path, shared=True) as one, held(path, shared=True, wait=False) as two, held(path, wait=False) as alone:
        assert (one, two, alone) == (True, True, False)
