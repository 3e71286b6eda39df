"""Which source a model is made of. The oracle: what importing it for real reads."""

import subprocess
import sys

import pytest

from swiftdeploy.pipeline.source import _reached, model_digest, package_digest

FILES = {
    "net.py": "import blocks\nfrom deep.part import one\nimport json\n",
    "blocks.py": "from norms import *\n",
    "norms.py": "x = 1\n",
    "deep/__init__.py": "from . import common\n",
    "deep/part.py": "from .other import two as one\nfrom ..nothing import gone\n",
    "deep/common.py": "",
    "deep/other.py": "def late():\n    import lazily\ntwo = 2\n",
    "lazily.py": "",
    "unrelated.py": "import net\n",
    "deep/unrelated.py": "",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_is_all_that_an_import_reads(folder):
    found = {path.relative_to(folder).as_posix() for path in _reached(folder, "net")}
    assert found == set(FILES) - {"unrelated.py", "deep/unrelated.py"}
    (folder / "deep/part.py").write_text("from .other import two as one\n")
    script = (
        "import sys, net, deep.other; deep.other.late()\n"
        "files = [getattr(m, '__file__', None) or '' for m in sys.modules.values()]\n"
        "print(*(file for file in files if file.startswith(sys.argv[1])), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(folder)], cwd=folder, capture_output=True, text=True, check=True
    )
    read = set(done.stdout.splitlines())
    assert read == {str(path) for path in _reached(folder, "net")}


@pytest.mark.parametrize("name", ["net.py", "blocks.py", "norms.py", "deep/__init__.py", "deep/other.py", "lazily.py"])
def test_every_file_that_counts_changes_the_digest(folder, name):
    before = model_digest("net:make", folder)
    (folder / name).write_text(FILES[name] + "# changed\n")
    assert model_digest("net:make", folder) != before


def test_no_other_file_does(folder):
    before = model_digest("net:make", folder)
    (folder / "unrelated.py").write_text("x = 2")
    (folder / "deep" / "unrelated.py").write_text("x = 2")
    (folder / "notes.txt").write_text("x")
    assert model_digest("net:make", folder) == before


@pytest.mark.parametrize("text", ["def (", "\0", "x = " + "(" * 5000])
def test_source_that_does_not_parse_counts_by_its_bytes(folder, text):
    (folder / "blocks.py").write_text(text)
    before = model_digest("net:make", folder)
    (folder / "blocks.py").write_text(text + " ")
    assert model_digest("net:make", folder) != before


def test_what_is_not_there_has_no_digest(folder):
    assert model_digest("no_such_module:make", folder) == ""
    assert package_digest("no_such_module") == ""
    assert model_digest("sys:exit", folder) == ""  # no file


def test_an_installed_module_counts_as_its_package(folder):
    assert model_digest("jsonschema.validators:validate", folder) == package_digest("jsonschema") != ""


def test_the_core_and_the_catalogs_models_have_one():
    assert len(package_digest("swiftdeploy")) == len(package_digest("swiftdeploy_models")) == 64
