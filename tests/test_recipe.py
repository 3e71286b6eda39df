import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.recipe import SCHEMES, Override, Recipe, parse_scheme, read_recipe
from swiftdeploy.spec import from_plain, to_plain


@pytest.mark.parametrize(
    ("name", "form", "bits", "sparsity", "group", "table_bits", "least_ios"),
    [
        ("fp16", "float", 16, 0, 0, 16, 15),
        ("int8", "linear", 8, 0, 0, 16, 16),
        ("int4", "linear", 4, 0, 0, 16, 18),
        ("pal8", "table", 8, 0, 0, 16, 16),
        ("pal3", "table", 3, 0, 0, 16, 18),
        ("pal4g16", "table", 4, 0, 16, 16, 18),
        ("sparse50", "float", 16, 50, 0, 16, 16),
        ("sparse75+pal4", "table", 4, 75, 0, 16, 18),
        ("sparse75+int8", "linear", 8, 75, 0, 16, 18),
        ("pal4+int8", "table", 4, 0, 0, 8, 18),
    ],
)
def test_what_a_scheme_means(name, form, bits, sparsity, group, table_bits, least_ios):
    scheme = parse_scheme(name)
    assert (scheme.name, scheme.form, scheme.bits) == (name, form, bits)
    assert (scheme.sparsity, scheme.group, scheme.table_bits) == (sparsity, group, table_bits)
    assert scheme.least_ios == least_ios


@pytest.mark.parametrize(
    "name",
    [
        *("", "int16", "int2", "pal5", "pal1", "pal", "palg16", "pal4g0", "pal4g", "sparse", "sparse49", "sparse96"),
        *("sparse100", "int8+pal4", "pal4+int4", "sparse75+int4", "sparse75+sparse80", "pal4+pal4", "int8+int8"),
        *("pal4g16+int8", "sparse75+pal4g16", "sparse75+pal4+int8", "INT8", "int8 ", "fp16+int8"),
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="is no way to store weights"):
        parse_scheme(name)


def test_the_list_of_schemes_parses():
    assert [parse_scheme(name).name for name in SCHEMES] == list(SCHEMES)


def test_the_last_pattern_that_matches_decides():
    recipe = Recipe(
        name="r",
        default="pal6",
        overrides=(
            Override(weights="network_*", scheme="int8"),
            Override(weights="network_1_*", scheme="pal4"),
            Override(weights="network_1_proj_weight", scheme="fp16"),
        ),
    )
    assert recipe.scheme("head_weight").name == "pal6"
    assert recipe.scheme("network_0_weight").name == "int8"
    assert recipe.scheme("network_1_x_weight").name == "pal4"
    assert recipe.scheme("network_1_proj_weight").name == "fp16"
    assert recipe.unmatched(["network_1_proj_weight"]) == ()
    assert recipe.unmatched(["head_weight"]) == ("network_*", "network_1_*", "network_1_proj_weight")


def test_a_name_with_brackets_matches_itself():
    recipe = Recipe(name="r", default="fp16", overrides=(Override(weights="a[0]", scheme="int8"),))
    assert recipe.scheme("a[0]").name == "int8"


def test_a_recipe_needs_the_newest_system_that_any_scheme_needs():
    assert Recipe(name="r", default="int8").least_ios == 16
    assert Recipe(name="r", default="int8", overrides=(Override(weights="a", scheme="pal3"),)).least_ios == 18


def test_text_and_codec_give_the_recipe_back(tmp_path):
    overrides = (Override(weights='odd "name"\\', scheme="int8"), Override(weights="network_*", scheme="pal4"))
    recipe = Recipe(name="mixed", default="sparse75+pal4", overrides=overrides, smallest=100)
    (tmp_path / "mixed.toml").write_text(recipe.text())
    assert read_recipe(tmp_path / "mixed.toml") == recipe
    assert from_plain(Recipe, to_plain(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('default = "pal5"', "'pal5' is no way to store weights"),
        ('default = "pal4"\n[weights]\n"a" = "int9"', "'int9' is no way"),
        ('default = "pal4"\n[weights]\n"b" = "int8"\n"*" = 8', r'"\*" in \[weights\] is no text'),
        ('default = "pal4"\n[weights.a]\nb = "int8"', r'"a" in \[weights\] is no text'),
        ('default = "pal4"\nweights = "int8"', "weights is no table"),
        ("default = 4", "default is no text"),
        ("", "the key default is missing"),
        ("smallest = 10", "the key default is missing"),
        ('default = "pal4"\nsmallest = -1', "smallest is -1"),
        ('default = "pal4"\nsmallest = true', "smallest is no whole number"),
        ('default = "pal4"\nsmallest = 1e3', "smallest is no whole number"),
        ('default = "pal4"\nbits = 4', "unknown key 'bits'"),
        ("default = ", "mixed.toml: "),
        ("\x00", "mixed.toml: "),
    ],
)
def test_files_that_make_no_sense(tmp_path, text, reason):
    (tmp_path / "mixed.toml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        read_recipe(tmp_path / "mixed.toml")


def test_a_file_that_is_not_there_or_cannot_name_an_artifact(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / "mixed.toml")
    with pytest.raises(UsageError, match="cannot name an artifact"):
        read_recipe(tmp_path / "two words.toml")
