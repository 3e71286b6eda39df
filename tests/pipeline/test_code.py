"""The digest of a model's code: the files of its classes, wherever they lie."""

import hashlib
import sys

import pytest
from torch import nn

from swiftdeploy.pipeline.code import code_digest

SOURCE = """
from torch import nn
from {name}_base import Base

class Net(Base):
    pass

def make():
    return Net()
"""
BASE = "from torch import nn\n\nclass Base(nn.Module):\n    pass\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(folder, source=..., base=...) is (module, factory) of a model of two files, newly imported."""

    def make(folder, *, base=BASE, extra=""):
        place = tmp_path / folder
        place.mkdir()
        (place / "codenet.py").write_text(SOURCE.format(name="codenet") + extra)
        (place / "codenet_base.py").write_text(base)
        for name in ("codenet", "codenet_base"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(place))
        import codenet

        return codenet.make(), "codenet:make", place

    yield make
    for name in ("codenet", "codenet_base"):
        sys.modules.pop(name, None)


def test_it_is_the_tree_digest_of_the_files_by_module(package):
    module, factory, place = package("one")
    lines = [
        f"{hashlib.sha256((place / n).read_bytes()).hexdigest()}  {n}\n" for n in ("codenet.py", "codenet_base.py")
    ]
    assert code_digest(module, factory) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_another_place_is_the_same_code(package):
    assert code_digest(*package("one")[:2]) == code_digest(*package("two")[:2])


@pytest.mark.parametrize("change", [{"extra": "\n# a word\n"}, {"base": BASE + "\n# a word\n"}])
def test_any_byte_of_any_file_counts(package, change):
    assert code_digest(*package("one")[:2]) != code_digest(*package("two", **change)[:2])


def test_a_class_without_a_file_and_torchs_own_have_none():
    assert code_digest(nn.Linear(1, 1), "timm:anything") == ""
    nowhere = type("Nowhere", (nn.Module,), {"__module__": "builtins"})
    assert code_digest(nowhere(), "timm:anything") == ""
