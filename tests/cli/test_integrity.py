"""sign, pack, diff and verify's --signature and --rebuild on the command line."""

import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile

import pytest

from swiftdeploy import bundle
from swiftdeploy.cli.app import run

PASSPHRASE = "open sesame"
# Without the library, in one process: numpy and the like load once.
WITHOUT = """
import json, sys
sys.modules["cryptography"] = None
from swiftdeploy.cli.app import run
print([run(line) for line in json.loads(sys.argv[1])])
"""


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory):
    """A small bundle, exported and signed in one command with a key that has a passphrase: (bundle, public key)."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    given = ("--passphrase-file", folder / "passphrase")
    export = ("export", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits", "--attention", "token_l2")
    for line in (
        ("sign", "--new-key", folder / "key", *given),
        (
            *export,
            "-t",
            "onnx",
            "-p",
            "fp32",
            "--no-verify",
            "-o",
            folder / "dist",
            "--sign-key",
            folder / "key",
            *given,
        ),
    ):
        assert run([str(word) for word in line]) == 0
    return folder / "dist" / "swiftformer_digits", folder / "key.pub"


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "digits")


def test_an_export_may_sign(cli, made):
    answer = cli("verify", made[0], "--signature", made[1], "--json")
    assert answer.code == 0
    assert len(answer.document["signed"][0]) == 64
    assert "signed by key" in cli("verify", made[0], "--signature", made[1]).out


def test_a_wrong_passphrase_is_found_before_the_export(cli, made, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("PASS", "shut")
    monkeypatch.setattr("swiftdeploy.pipeline.export.export", None)
    answer = cli(
        *("export", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits", "-o", tmp_path / "dist"),
        *("--sign-key", made[1].with_suffix(""), "--passphrase-env", "PASS"),
    )
    assert answer.code == 2
    assert "passphrase is wrong" in answer.err
    assert "shut" not in answer.out + answer.err


@pytest.mark.parametrize("how", ["missing", "foreign", "wrong"])
def test_signatures_that_do_not_count_are_exit_7(cli, made, copy, tmp_path, how):
    key = made[1]
    if how == "missing":
        (copy / bundle.ENVELOPE_NAME).unlink()
    elif how == "foreign":
        assert cli("sign", "--new-key", tmp_path / "other").code == 0
        key = tmp_path / "other.pub"
    else:
        envelope = copy / bundle.ENVELOPE_NAME
        text = envelope.read_text()
        at = text.index('"sig": "') + 10
        envelope.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    bundle.write_sums(copy)
    answer = cli("verify", copy, "--signature", key)
    assert answer.code == 7
    fact = {"missing": "is not signed", "foreign": "by another key", "wrong": "the signature is wrong"}[how]
    assert fact in answer.err


def test_without_cryptography_it_is_exit_8(made, tmp_path):
    """Everything else works without it."""
    lines = [
        ["verify", str(made[0]), "--signature", str(made[1])],
        ["sign", "--new-key", str(tmp_path / "key")],
        ["sign", str(made[0]), "--key", str(made[1])],
        ["verify", str(made[0]), "--quiet"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[8, 8, 8, 0]", done.stderr
    assert done.stderr.count("signatures need the library cryptography") == 3
    assert not list(tmp_path.iterdir())


def test_signing_says_which_key_and_never_which_secret(cli, copy, tmp_path):
    made = cli("sign", "--new-key", tmp_path / "key", "--json")
    assert made.document == {"private": str(tmp_path / "key"), "public": str(tmp_path / "key.pub"), "written": True}
    secret = (tmp_path / "key").read_text().splitlines()[1]
    dry = cli("sign", copy, "--key", tmp_path / "key", "--dry-run", "--json")
    wet = cli("sign", copy, "--key", tmp_path / "key", "--json")
    assert dry.document["signed"] == wet.document["signed"]
    assert (dry.document["written"], wet.document["written"]) == (False, True)
    text = cli("sign", copy, "--key", tmp_path / "key", "--verbose")
    assert secret not in made.out + made.err + wet.out + wet.err + text.out + text.err


@pytest.mark.parametrize(
    "arguments", [(), ("dist",), ("--key", "k"), ("dist", "--new-key", "k"), ("--new-key", "k", "--key", "k")]
)
def test_sign_needs_one_job(cli, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli("sign", *arguments)
    assert answer.code == 2
    assert not list(tmp_path.iterdir())


def test_rebuild(cli, made, copy, digits):
    weights = digits / "swiftformer_digits.pth"
    answer = cli("verify", copy, "--rebuild", "--checkpoint", weights, "--json")
    assert answer.code == 0
    (rebuilt,) = answer.document["rebuilt"]
    # The signature is there because it was copied: a rebuild has no key.
    assert (rebuilt["files"], rebuilt["taken_over"]) == (len(bundle.records(copy)) - 1, [bundle.ENVELOPE_NAME])
    assert cli("verify", copy, "--rebuild", "--model", "x", "--checkpoint", weights).code == 2
    assert cli("verify", copy, "--rebuild", "--attention", "sum", "--checkpoint", weights).code == 2
    missing = cli("verify", copy, "--rebuild")
    assert missing.code == 2
    assert "--checkpoint" in missing.err


@pytest.mark.parametrize(
    ("given", "fact", "hint"),
    [
        (("-m", "swiftformer_xs"), "--model says how to look at a checkpoint", "give --checkpoint"),
        (("--attention", "sum"), "--attention says how to look at a checkpoint", "give --checkpoint"),
        (("--images", "nope"), "--images says how to look at a checkpoint", "give --checkpoint"),
        (("--calibration", "nope"), "--calibration is what a rebuild measures ranges on", "give --rebuild"),
        (("--calibration", "nope", "--checkpoint", "w.pth"), "--calibration is what a rebuild", "give --rebuild"),
        (("--rebuild", "--attention", "sum"), "takes the attention from the bundle", "leave --attention out"),
        (("--rebuild", "--images", "nope"), "swiftformer_digits: exported without --images", "leave --images out"),
        (("--rebuild", "--calibration", "nope"), "exported without --calibration", "leave --calibration out"),
    ],
)
def test_verify_ignores_no_option(cli, made, given, fact, hint):
    """What nothing looks at would read like a check that passed."""
    answer = cli("verify", made[0], *given)
    assert (answer.code, answer.out) == (2, "")
    assert fact in answer.err
    assert hint in answer.err


def test_a_rebuild_takes_the_checkpoint_of_the_configuration(cli, copy, digits, tmp_path, monkeypatch):
    (tmp_path / "swiftdeploy.toml").write_text(
        'output = "."\n[models.digits]\nmodel = "swiftformer_digits"\ncheckpoint = "w/swiftformer_digits.pth"\n'
    )
    (tmp_path / "w").mkdir()
    shutil.copyfile(digits / "swiftformer_digits.pth", tmp_path / "w" / "swiftformer_digits.pth")
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("swiftdeploy.pipeline.rebuild.export", lambda request: asked.append(request) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("verify", "--rebuild")
    assert asked[0].checkpoint == "w/swiftformer_digits.pth"


def test_pack(cli, copy, tmp_path):
    destination = tmp_path / "out" / "digits.zip"
    dry = cli("pack", copy, "-o", destination, "--dry-run", "--json")
    assert (dry.code, dry.document["written"]) == (0, False)
    assert not destination.parent.exists()
    wet = cli("pack", copy, "-o", destination, "--json")
    (packed,) = wet.document["packed"]
    assert (packed["sha256"], packed["path"]) == (bundle.sha256_of(destination), str(destination))
    with zipfile.ZipFile(destination) as archive:
        assert bundle.ENVELOPE_NAME in {name.split("/")[-1] for name in archive.namelist()}
    assert cli("pack", copy, "-o", destination).code == 2
    beside = cli("pack", copy)
    assert beside.out.startswith(str(tmp_path / "digits.zip"))
    (copy / "golden" / "x").touch()
    assert cli("pack", copy, "-o", tmp_path / "y.zip").code == 7


def test_sign_and_pack_without_a_bundle_take_those_of_the_configuration(cli, copy, tmp_path, monkeypatch):
    """Two models of the file; a third bundle in the output is nobody's."""
    monkeypatch.chdir(tmp_path)
    for name in ("b", "stranger"):
        shutil.copytree(copy, tmp_path / "dist" / name)
    copy.rename(tmp_path / "dist" / "a")
    assert cli("sign", "--new-key", "key").code == 0
    for command in (("pack",), ("sign", "--key", "key")):
        answer = cli(*command)
        assert (answer.code, "has no swiftdeploy.toml" in answer.err) == (2, True)
    lines = [f'[models.{name}]\nmodel = "swiftformer_digits"\ncheckpoint = "w.pth"\n' for name in "ab"]
    (tmp_path / "swiftdeploy.toml").write_text("".join(lines))
    answer = cli("sign", "--key", "key", "--json")
    assert [one["path"] for one in answer.document["signed"]] == ["dist/a", "dist/b"]
    answer = cli("pack", "-o", "release.zip")
    assert (answer.code, answer.out) == (2, "")
    assert "release.zip is one file, and 2 bundles are named" in answer.err
    answer = cli("pack", "-o", "release", "--json")
    assert [one["path"] for one in answer.document["packed"]] == ["release/a.zip", "release/b.zip"]
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == ["a.zip", "b.zip"]
    assert cli("pack").out.splitlines()[1].startswith("dist/b.zip")
    (tmp_path / "swiftdeploy.toml").write_text(lines[0])
    assert cli("pack", "-o", "release.zip").out.startswith("release.zip: ")
    assert (tmp_path / "release.zip").is_file()


def test_diff_of_equals(cli, made, copy):
    answer = cli("diff", made[0], copy, "--fail-on", "bytes,weights,ops,artifacts,facts", "--max-size-ratio", "1")
    assert (answer.code, answer.out.split()) == (0, ["swiftformer_digits", "same", "bytes"])
    document = cli("diff", made[0], copy, "--json").document
    assert document["difference"]["identical"] is True
    assert document["exceeded"] == []


def test_diff_beyond_a_limit(cli, made, copy):
    manifest = bundle.read_manifest(copy)
    artifact = dataclasses.replace(manifest.artifacts[0], bytes=manifest.artifacts[0].bytes * 2, sha256="0" * 64)
    bundle.attest(copy, dataclasses.replace(manifest, artifacts=(artifact,)))
    line = ("diff", made[0], copy, "--max-size-ratio", "1.02")
    answer = cli(*line)
    assert answer.code == 6
    assert "+100.00%" in answer.out
    assert "exceeded: swiftformer_digits: swiftformer_digits-fp32.onnx: size is" in answer.out
    assert "1 limits do not hold" in answer.err
    document = cli(*line, "--json")
    assert document.code == 6
    assert "error:" not in document.err
    assert document.document["error"]["exit_code"] == 6
    assert len(document.document["exceeded"]) == 1
    assert cli("diff", made[0], copy, "--max-size-ratio", "3").code == 0
    assert cli("diff", made[0], copy, "--fail-on", "size").code == 2


def test_the_table_fits_60_columns(cli, made, copy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    manifest = bundle.read_manifest(copy)
    bundle.attest(copy, dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, attention="sum")))
    lines = cli("diff", made[0], copy).out.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("figure")) :]
    assert max(map(len, table)) <= 60
    assert "  attention: token_l2 → sum" in lines
