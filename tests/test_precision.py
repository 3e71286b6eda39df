from pathlib import Path

import pytest

from swiftdeploy import precision
from swiftdeploy.errors import UsageError
from swiftdeploy.recipe import Recipe
from swiftdeploy.spec import ExportOptions


def test_every_name_is_parsed_to_itself():
    assert [precision.parse(name).name for name in precision.NAMES] == list(precision.NAMES)


@pytest.mark.parametrize(
    ("name", "compute"), [("fp32", "fp32"), ("fp16", "fp16"), ("auto", "fp16"), ("int8", "fp16"), ("r.toml", "fp16")]
)
def test_what_a_precision_computes_in(name, compute):
    assert precision.parse(name).compute == compute


@pytest.mark.parametrize("name", ["", "FP16", "fp8", "half", "fp16 ", "a/b.toml", ".toml", "-x.toml", "pal5"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="is not known"):
        precision.parse(name)


def test_kinds_and_recipes():
    assert precision.parse("w8a8").needs["coreml"].calibration
    assert not precision.parse("int8").needs["coreml"].calibration
    assert precision.parse("int8").needs["onnx"].calibration
    assert precision.parse("int4").targets == ("coreml",)
    assert precision.parse("w8").targets == ("onnx",)
    assert precision.parse("w8").compute == "fp32"
    assert not precision.parse("fp16").compressed
    assert precision.parse("pal4").compressed
    assert precision.parse("pal4").recipe == Recipe(name="pal4", default="pal4")
    assert precision.parse("mixed.toml").recipe is None
    assert precision.parse("mixed.toml").slug == "mixed"
    assert precision.parse("sparse75+pal4").slug == "sparse75+pal4"


def test_a_precision_that_no_target_has_is_refused():
    with pytest.raises(UsageError, match="'auto' is for coreml"):
        ExportOptions(targets=("onnx",), precisions=("fp16", "auto"))


def test_a_target_gets_the_precisions_that_it_has():
    options = ExportOptions(targets=("coreml", "onnx"), precisions=("fp16", "auto", "pal4"))
    assert options.matrix == (("coreml", "fp16"), ("coreml", "auto"), ("coreml", "pal4"), ("onnx", "fp16"))


@pytest.mark.parametrize(
    ("name", "least"),
    [("int8", 16), ("pal4", 16), ("sparse75", 16), ("w8a8", 17), ("int4", 18), ("pal3", 18), ("pal4+int8", 18)],
)
def test_a_precision_is_refused_for_an_older_system(name, least):
    older = {16: 15, 17: 16, 18: 17}[least]
    with pytest.raises(UsageError, match=f"'{name.replace('+', '[+]')}' needs iOS {least}") as caught:
        ExportOptions(precisions=(name,), min_ios=older)
    assert f"--min-ios {least}" in caught.value.hint
    assert ExportOptions(precisions=(name,), min_ios=least).matrix == (("coreml", name),)


def test_recipe_files_are_read_and_named_after_their_stem(tmp_path):
    (tmp_path / "mixed.toml").write_text('default = "pal3"')
    names, recipes = precision.resolve(("fp16", "mixed.toml", "fp16"), tmp_path)
    assert names == ("fp16", "mixed.toml")
    assert recipes == (Recipe(name="mixed", default="pal3"),)
    options = ExportOptions(precisions=names, recipes=recipes, min_ios=18)
    assert options.recipe("mixed.toml") == recipes[0]
    assert options.recipe("fp16") is None
    assert options.recipe("pal4") == Recipe(name="pal4", default="pal4")
    with pytest.raises(UsageError, match="needs iOS 18"):
        ExportOptions(precisions=names, recipes=recipes, min_ios=16)


def test_a_recipe_that_was_not_read():
    with pytest.raises(UsageError, match="was not read"):
        ExportOptions(precisions=("mixed.toml",))
    with pytest.raises(UsageError, match="cannot be read"):
        precision.resolve(("mixed.toml",), Path("nowhere"))


@pytest.mark.parametrize("stem", ["fp16", "fp32", "auto", "w8", "w8a8", "int8", "pal4", "pal4g16", "sparse60", "FP16"])
@pytest.mark.parametrize("beside", [(), ("int4",)], ids=["alone", "beside another"])
def test_a_recipe_does_not_pass_for_a_precision(stem, beside):
    with pytest.raises(UsageError, match=f"{stem}.toml has the name of the precision '{stem.lower()}'") as caught:
        ExportOptions(precisions=(*beside, f"{stem}.toml"), recipes=(Recipe(name=stem, default="pal4"),), min_ios=18)
    assert "another name" in caught.value.hint


@pytest.mark.parametrize("stem", ["mixed", "my-fp16", "fp16-first", "pal5", "sparse75_pal4"])
def test_a_recipe_has_a_name_of_its_own(stem):
    given = Recipe(name=stem, default="pal4")
    assert ExportOptions(precisions=(f"{stem}.toml",), recipes=(given,)).recipe(f"{stem}.toml") == given


def test_two_recipes_of_one_name(tmp_path):
    for folder, default in (("a", "pal4"), ("b", "pal6"), ("c", "pal4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mixed.toml").write_text(f'default = "{default}"')
    names, recipes = precision.resolve(("a/mixed.toml", "b/mixed.toml"), tmp_path)
    with pytest.raises(UsageError, match=r"mixed\.toml stands for 2 different files"):
        ExportOptions(precisions=names, recipes=recipes)
    names, recipes = precision.resolve(("a/mixed.toml", "c/mixed.toml"), tmp_path)
    assert ExportOptions(precisions=names, recipes=recipes).matrix == (("coreml", "mixed.toml"),)


def test_budgets_that_nothing_can_break_are_refused():
    with pytest.raises(UsageError, match="there is none"):
        ExportOptions(precisions=("fp16",), max_drift_db=30.0)
    with pytest.raises(UsageError, match="there is none"):
        ExportOptions(precisions=("int8",), min_agreement=99.0, verify=False)
    with pytest.raises(UsageError, match="cannot be"):
        ExportOptions(precisions=("int8",), min_agreement=101.0)
