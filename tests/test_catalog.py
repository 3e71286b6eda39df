import subprocess
import sys

import pytest

from swiftdeploy import catalog
from swiftdeploy.errors import ModelError


def test_the_installed_catalog_is_found():
    names = [row.name for row in catalog.entries()]
    assert {"swiftformer_xs", "mobilevitv2_100", "efficientnet_lite0"} <= set(names)
    assert len(set(names)) == len(names)


def test_a_row_by_name():
    assert catalog.find("swiftformer_xs").parameters == 3_475_360


def test_a_factory_by_reference():
    row = catalog.find("package.nets:make")
    assert (row.name, row.factory, row.family) == ("make", "package.nets:make", "custom")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("swiftformer_x", "did you mean swiftformer_xs"), ("zzzz", "list the names with: swiftdeploy models")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, hint):
    with pytest.raises(ModelError, match=f"no model is named '{name}'") as caught:
        catalog.find(name)
    assert hint in caught.value.hint


def test_resolving_a_reference():
    from fractions import Fraction

    assert catalog.resolve("fractions:Fraction") is Fraction


@pytest.mark.parametrize(
    ("reference", "fact"),
    [
        ("fractions", "is not of the form module:factory"),
        (":Fraction", "is not of the form module:factory"),
        ("fractions:", "is not of the form module:factory"),
        ("no_such_module_at_all:f", "does not import: ModuleNotFoundError"),
        ("fractions:Fractoin", "has no factory 'Fractoin'"),
        ("fractions:__doc__", "has no factory '__doc__'"),
    ],
)
def test_references_that_lead_nowhere(reference, fact):
    with pytest.raises(ModelError) as caught:
        catalog.resolve(reference)
    assert fact in caught.value.fact
    assert caught.value.hint


def test_a_near_miss_is_named():
    with pytest.raises(ModelError) as caught:
        catalog.resolve("fractions:Fractoin")
    assert caught.value.hint == "did you mean Fraction?"


def test_a_module_of_the_working_folder_is_found_and_the_path_left_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "nets_of_this_folder.py").write_text("def make():\n    return 7\n")
    (tmp_path / "broken_nets_here.py").write_text("raise ValueError('two\\nlines')\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert catalog.resolve("nets_of_this_folder:make")() == 7
    with pytest.raises(ModelError, match="does not import: ValueError: two lines"):
        catalog.resolve("broken_nets_here:make")
    assert sys.path == before
    sys.modules.pop("nets_of_this_folder")


def test_listing_loads_no_torch():
    code = "import sys\nfrom swiftdeploy import catalog\ncatalog.entries()\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "coremltools", "onnx", "onnxruntime", "numpy"} & set(loaded)
