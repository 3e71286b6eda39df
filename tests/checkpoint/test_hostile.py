"""Files that are damaged, oversized or malicious: refused in one line, and nothing in them runs."""

import argparse
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from swiftdeploy.checkpoint import limits, load, pickled
from swiftdeploy.errors import CheckpointError

SENTINEL = "executed"


class Attack:
    """Unpickling this would create the sentinel file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def harmless(tmp_path, monkeypatch):
    """Whatever the test loads, the sentinel must not appear."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / SENTINEL).exists()


def test_the_attack_itself_works(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / SENTINEL)))
    assert (tmp_path / SENTINEL).exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("where", ["flat", "beside", "inside"])
def test_pickles_with_code(where, legacy, harmless, state, refused):
    attack = Attack(harmless / SENTINEL)
    document = {"flat": attack, "beside": {"model": state, "args": attack}, "inside": {"model": {**state, "x": attack}}}
    torch.save(document[where], harmless / "c.pth", _use_new_zipfile_serialization=not legacy)
    error = refused(lambda: load("c.pth"), CheckpointError, "c.pth is a pickle that needs code", "mkdir")
    assert "nothing was executed" in error.hint


@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickles(protocol, harmless, refused):
    (harmless / "c.pth").write_bytes(pickle.dumps(Attack(harmless / SENTINEL), protocol))
    refused(lambda: load("c.pth"), CheckpointError, "c.pth")


def test_whole_modules_and_functions(harmless, refused):
    torch.save(torch.nn.Linear(2, 2), harmless / "module.pth")
    refused(lambda: load("module.pth"), CheckpointError, "needs code: torch.nn.modules.linear.Linear")
    torch.save({"a": torch.relu}, harmless / "function.pth")
    refused(lambda: load("function.pth"), CheckpointError, "needs code")


@pytest.mark.filterwarnings("ignore")
def test_torchscript(harmless, refused):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), harmless / "c.pt")
    refused(lambda: load("c.pt"), CheckpointError, "TorchScript")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_truncated_files(kind, share, harmless, state, refused):
    file = harmless / ("c.safetensors" if kind == "safetensors" else "c.pth")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    refused(lambda: load(file.name), CheckpointError, file.name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("content", [b"", b"\0", b"hello", b"\x80\x02}q\0.", b"PK\x03\x04", b"\xff" * 100, b"{}" * 50])
def test_files_of_something_else(content, suffix, harmless, refused):
    (harmless / f"c{suffix}").write_bytes(content)
    refused(lambda: load(f"c{suffix}"), CheckpointError, f"c{suffix}")


def test_a_flipped_byte_is_found_or_harmless(harmless):
    """Wherever one byte of an archive changes, the weights are refused or still the same: never silently others."""
    state = {"a.weight": torch.randn(30), "a.bias": torch.randn(3)}
    torch.save({"model": state, "epoch": 3}, harmless / "c.pth")
    content = (harmless / "c.pth").read_bytes()
    outcomes = {"refused": 0, "same": 0}
    for place in range(0, len(content), 2):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (harmless / "c.pth").write_bytes(damaged)
        try:
            found = load("c.pth").state
        except CheckpointError:
            outcomes["refused"] += 1
            continue
        assert list(found) == list(state)
        assert all(torch.equal(found[key], value) for key, value in state.items())
        outcomes["same"] += 1
    assert outcomes["refused"] > 100


@pytest.mark.parametrize("kind", ["legacy", "safetensors"])
def test_formats_without_checksums_refuse_or_load(kind, harmless):
    """Whatever a changed byte does to these, nothing but a CheckpointError comes out."""
    state = {"a.weight": torch.randn(30), "a.bias": torch.randn(3)}
    file = harmless / ("c.safetensors" if kind == "safetensors" else "c.pth")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save({"model": state}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    refused = 0
    for place in range(len(content)):
        for flip in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flip
            file.write_bytes(damaged)
            try:
                load(file.name)
            except CheckpointError:
                refused += 1
    assert refused > 100


def archive(path, compression, **entries):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(f"archive/{name.replace('__', '/')}", content)


def test_zip_bombs(harmless, refused, monkeypatch):
    archive(harmless / "c.pth", zipfile.ZIP_DEFLATED, **{"data.pkl": b"\0" * 10_000_000})
    assert (harmless / "c.pth").stat().st_size < 20_000
    refused(lambda: load("c.pth"), CheckpointError, "compressed entries")
    monkeypatch.setattr(pickled, "PICKLE_BYTES", 100)
    archive(harmless / "c.pth", zipfile.ZIP_STORED, **{"data.pkl": b"\0" * 1000})
    refused(lambda: load("c.pth"), CheckpointError, "pickle of over 100 bytes")


def test_archives_whose_entries_overlap(harmless, refused):
    """Many directory entries that point at the same bytes claim more than the file holds."""
    with zipfile.ZipFile(harmless / "c.pth", "w") as file:
        file.writestr("archive/data.pkl", b"\0" * 1000)
        for number in range(50):
            info = zipfile.ZipInfo(f"archive/data/{number}")
            info.file_size = info.compress_size = 1000
            info.CRC, info.header_offset = file.filelist[0].CRC, 0
            file.filelist.append(info)
    refused(lambda: load("c.pth"), CheckpointError, "more than its own size")


def test_archives_without_weights(harmless, refused):
    archive(harmless / "c.pth", zipfile.ZIP_STORED, readme=b"hello")
    refused(lambda: load("c.pth"), CheckpointError, "without weights")


def test_tensors_that_claim_more_than_is_stored(harmless, refused):
    torch.save({"a": torch.zeros(1).expand(10**7, 10**7)}, harmless / "c.pth")
    assert (harmless / "c.pth").stat().st_size < 10_000
    refused(lambda: load("c.pth"), CheckpointError, "a claims", "stores 4")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "tensor",
    [
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        lambda: torch.ones(2, dtype=torch.complex64),
        lambda: torch.ones(2).to(torch.float8_e4m3fn),
    ],
)
def test_tensors_that_no_float_module_loads(tensor, harmless, refused):
    torch.save({"a": tensor()}, harmless / "c.pth")
    refused(lambda: load("c.pth"), CheckpointError, "c.pth")


@pytest.mark.parametrize(
    ("document", "fact"),
    [
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        ({}, "no weights (entries: none)"),
        ({"epoch": 3, "args": {}}, "no weights (entries: 'epoch', 'args')"),
        ({"model": {}}, "no weights"),
        ({1: torch.zeros(1)}, "key 1"),
    ],
)
def test_documents_without_a_state_dict(document, fact, harmless, refused):
    torch.save(document, harmless / "c.pth")
    refused(lambda: load("c.pth"), CheckpointError, fact)


def test_size_limits(harmless, state, refused, monkeypatch):
    torch.save(state, harmless / "c.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.check_file, "__kwdefaults__", {"most": 1000})
        refused(lambda: load("c.pth"), CheckpointError, "at most 1,000")
    monkeypatch.setattr("swiftdeploy.checkpoint.state.FILE_BYTES", 1000)
    refused(lambda: load("c.pth"), CheckpointError, "over 1,000 bytes")
    monkeypatch.setattr("swiftdeploy.checkpoint.state.TENSORS", 3)
    refused(lambda: load("c.pth"), CheckpointError, "entries")


def test_paths_that_are_no_checkpoint(harmless, refused):
    refused(lambda: load("nowhere.pth"), CheckpointError, "nowhere.pth is not there")
    (harmless / "empty").mkdir()
    refused(lambda: load("empty"), CheckpointError, "empty holds no weights")
    os.mkfifo(harmless / "pipe.pth")
    refused(lambda: load("pipe.pth"), CheckpointError, "not a regular file")
    (harmless / "loop.pth").symlink_to("loop.pth")
    refused(lambda: load("loop.pth"), CheckpointError, "loop.pth")
    refused(lambda: load("x" * 5000), CheckpointError)
    refused(lambda: load("nul\0.pth"), CheckpointError)


def test_folders_with_several_weight_files(harmless, state, refused):
    for name in ("a.pth", "b.pth"):
        torch.save(state, harmless / name)
    refused(lambda: load("."), CheckpointError, "2 weight files: a.pth, b.pth")
    (harmless / "b.pth").unlink()
    assert load(".").source == harmless.name


def test_unreadable_files_and_folders(harmless, state, ordinary):
    torch.save(state, harmless / "c.pth")
    (harmless / "c.pth").chmod(0)
    (harmless / "folder").mkdir(mode=0)
    script = (
        "from swiftdeploy.checkpoint import load\n"
        "from swiftdeploy.errors import CheckpointError\n"
        "for name in ('c.pth', 'folder'):\n"
        "    try:\n"
        "        load(name)\n"
        "    except CheckpointError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [*ordinary, sys.executable, "-c", script], cwd=harmless, capture_output=True, text=True, check=True
    )
    file, folder = done.stdout.splitlines()
    assert file == "c.pth cannot be read: Permission denied"
    assert folder == "folder cannot be read: Permission denied"


def test_unreadable_files_even_for_root(harmless, state, refused, monkeypatch):
    torch.save(state, harmless / "c.pth")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    refused(lambda: load("c.pth"), CheckpointError, "cannot be read: Permission denied")
    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    refused(lambda: load("."), CheckpointError, "cannot be read: Permission denied")


def test_errors_name_the_file_and_never_its_path(harmless, refused):
    (harmless / "c.pth").write_bytes(b"PK\x03\x04" + b"\0" * 50)
    error = refused(lambda: load(str(harmless / "c.pth")), CheckpointError, "c.pth")
    assert str(harmless) not in error.fact


def test_weights_only_is_what_torch_is_asked_for(state, monkeypatch, tmp_path):
    """Should someone relax it, this fails before any attack does."""
    torch.save(state, tmp_path / "c.pth")
    asked = {}

    def spy(file, **options):
        asked.update(options)
        return real(file, **options)

    real = torch.load
    monkeypatch.setattr(torch, "load", spy)
    load(str(tmp_path / "c.pth"))
    assert asked["weights_only"] is True
    assert asked["map_location"] == "cpu"


def test_allowed_containers_do_not_carry_code(harmless, state, refused):
    arguments = argparse.Namespace(lr=1e-3, hook=Attack(harmless / SENTINEL))
    torch.save({"model": state, "args": arguments}, harmless / "c.pth")
    refused(lambda: load("c.pth"), CheckpointError, "needs code", "mkdir")
