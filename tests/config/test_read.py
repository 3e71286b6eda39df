"""swiftdeploy.toml as frozen values."""

import dataclasses
from pathlib import Path

import pytest

from swiftdeploy.config import REPORT_FILES, bytes_of, check_baselines, options_of, read_config
from swiftdeploy.errors import ConfigError


def test_everything_at_once(read, tmp_path):
    found = read(
        """
        output = "out"
        [models.a]
        model = "swiftformer_xs"
        checkpoint = "w.pth"
        attention = "sum"
        targets = ["coreml", "onnx"]
        precisions = ["fp32"]
        min_ios = 17
        opset = 18
        size = [256, 192]
        dynamic_batch = true
        ort = true
        labels = "imagenet"
        images = "pictures"
        """
    )
    ((name, entry),) = found.models
    options = options_of(entry, "here")
    assert (name, entry.model, found.output) == ("a", "swiftformer_xs", "out")
    assert (options.targets, options.precisions) == (("coreml", "onnx"), ("fp32",))
    assert (options.min_ios, options.opset, options.input_size) == (17, 18, (256, 192))
    assert options.dynamic_batch
    assert options.ort
    assert found.path(entry.checkpoint) == str(tmp_path / "w.pth")


def test_what_is_left_out_takes_the_command_lines_default(read):
    ((name, entry),) = read("[models.swiftformer_s]\nuntrained = 0").models
    assert entry.model == name == "swiftformer_s"
    assert options_of(entry, "here").targets == ("coreml",)


def test_paths(read, tmp_path):
    found = read("[models.a]\nuntrained = 0")
    assert found.path(None) is None
    assert found.path("hf-hub:org/name") == "hf-hub:org/name"
    assert found.path("/abs/w.pth") == "/abs/w.pth"
    assert found.path("~/w.pth") == str(Path.home() / "w.pth")
    assert found.path("~nobody-here/w.pth") == str(tmp_path / "~nobody-here" / "w.pth")


@pytest.mark.parametrize(("size", "expected"), [("[64]", (64, 64)), ("[64, 96]", (64, 96)), ("[]", None)])
def test_size(read, size, expected):
    ((_, entry),) = read(f"[models.a]\nuntrained = 0\nsize = {size}").models
    assert options_of(entry, "here").input_size == expected


REFUSED = [
    ("models = 3", 1, "models: expected a table, found an integer"),
    ("output = 3\n[models.a]\nuntrained = 0", 1, "output: expected a text, found an integer"),
    ('output = ""\n[models.a]\nuntrained = 0', 1, "output: it is empty"),
    ("[models]\na = 3", 2, "models.a: it is an integer and should be a table"),
    ("[models.a]\nuntrained = true", 2, "models.a.untrained: expected an integer, found true or false"),
    ('[models.a]\nuntrained = 0\nbatch = "2"', 3, "models.a.batch: expected an integer, found a text"),
    ("[models.a]\nuntrained = 0\n\nbatch = 0", 4, "models.a.batch: 0 is under 1"),
    ("[models.a]\nuntrained = -1", 2, "-1 is under 0"),
    ('[models.a]\nuntrained = 0\ntargets = "coreml"', 3, "expected an array, found a text"),
    ('[models.a]\nuntrained = 0\ntargets = [\n"coreml",\n"onxn"]', 5, "targets[1]: 'onxn' is none of coreml, onnx"),
    ("[models.a]\nuntrained = 0\ntargets = []", 3, "models.a.targets: it is empty"),
    ("[models.a]\nuntrained = 0\nsize = [64, 64, 64]", 3, "more than 2 items"),
    ("[models.a]\nuntrained = 0\nsize = [8]", 3, "models.a.size[0]: 8 is under 32"),
    ("[models.a]\nuntrained = 0\nmin_ios = 14", 3, "models.a.min_ios: 14 is none of 15"),
    ('[models.a]\nuntrained = 0\nprecisions = ["int3"]', 3, "precisions[0]: precision 'int3' is not known"),
    ('[models.a]\nuntrained = 0\ncheckpoint = "x"', 1, "checkpoint or untrained, one of the two"),
    ("[models.a]", 1, "one of the two"),
    ('[models.a]\ncheckpoint = ""', 2, "it is empty"),
    ('[models.a]\ncheckpoint = "a\\u0000b"', 2, "NUL"),
    ('[models.a]\ncheckpoint = "hf-hub:"', 2, "names no model"),
    ('[models.a]\nuntrained = 0\nsha256 = "' + "0" * 64 + '"', 3, "sha256 needs checkpoint"),
    ('[models.a]\ncheckpoint = "x"\nsha256 = "abc"', 3, "another form"),
    ('[models.a]\nuntrained = 0\ninput = "image"\nbatch = 2', 1, "holds one image"),
    ("[models.a]\nuntrained = 0\ndynamic_batch = true", 1, "for ONNX only"),
    ("[models.a]\nuntrained = 0\nort = true", 1, "made of an .onnx"),
    ('[models.a]\nuntrained = 0\ntargets = ["onnx"]\nprecisions = ["int8"]', 1, "onnx int8 is calibrated on images"),
    ("[models.a]\nuntrained = 0\nint8 = { methd = 1 }", 3, "models.a.int8.methd: unknown key 'methd'"),
    ("[models.a]\nuntrained = 0\nint8 = { percentile = 99 }", 3, "int8: a percentile means nothing to the method"),
    ("[models.a]\nuntrained = 0\nint8 = { percentile = 50 }", 3, "int8.percentile: 50 is not over 50"),
    ('[models.a]\nuntrained = 0\nint8 = { gelu = "tanh" }', 1, "quantise to ONNX int8, which is not asked for"),
    ('[models.""]\nuntrained = 0', 1, "cannot be ''"),
    ('[models.".."]\nuntrained = 0', 1, "cannot be '..'"),
    ('[models.".hidden"]\nuntrained = 0', 1, "cannot be '.hidden'"),
    ('[models."a/b"]\nuntrained = 0', 1, "cannot be 'a/b'"),
    ("[models.a]\nuntrained = 0\n[models.A]\nuntrained = 1", 3, "one folder on a Mac"),
    ('[models.a]\nuntrained = 0\n[reports]\nfolder = "dist/a/b"', 4, "reports.folder: it lies in the bundle a"),
    ('[models."run.json"]\nuntrained = 0', 1, "run.json: its folder would take the place of the report run.json"),
    ('[models."Index.HTML"]\nuntrained = 0', 1, "the place of the report index.html"),
    (
        'output = "o"\n[models."run.json"]\nuntrained = 0\n[reports]\nformats = []\nfolder = "./o/"',
        *(2, "the place of the report run.json"),
    ),
    (
        'output = "summary.md"\n[models.a]\nuntrained = 0\n[reports]\nfolder = "."',
        *(1, "output: it would take the place of the report summary.md"),
    ),
    ('[models.a]\nuntrained = 0\n[reports]\nformats = ["pdf"]', 4, "'pdf' is none of"),
    ("[models.a]\nuntrained = 0\n[cache]\nmax_size = 3", 4, "cache.max_size: expected a text, found an integer"),
    ('[models.a]\nuntrained = 0\n[cache]\nmax_size = "3 bananas"', 4, "'3 bananas' has another form"),
    ("[defaults]\nbatch = 0\n[models.a]\nuntrained = 0", 2, "defaults.batch: 0 is under 1"),
    ('[defaults]\ncheckpoint = "x"\n[models.a]\nuntrained = 0', 2, "unknown key 'checkpoint'"),
    ("[models.a]\nuntrained = 0\n[budgets]\nsize = 3", 4, "budgets.size: it is an integer and should be a table"),
    ("[models.a]\nuntrained = 0\n[budgets]\nsize = {}", 4, "budgets.size: it states no limit"),
    ("[models.a]\nuntrained = 0\n[budgets]\nparity = { min = nan }", 4, "nan is no number"),
    ("[models.a]\nuntrained = 0\n[budgets]\ntop1 = { min = 0.9 }", 4, "budgets.top1: it needs 'images'"),
    ('[models.a]\nuntrained = 0\n[budgets]\ntop1 = { images = "x", min = 2 }', 4, "budgets.top1.min: 2 is over 1"),
    ("[models.a]\nuntrained = 0\n[budgets.latency]\nunit = 'all'", 3, "budgets.latency: it needs max_ms or max_ratio"),
    ("[models.a]\nuntrained = 0\nwhen = 1979-05-27", 3, "unknown key 'when'"),
    ("[models.a]\nuntrained = 1979-05-27", 2, "expected an integer, found date"),
]


@pytest.mark.parametrize(("text", "line", "fact"), REFUSED)
def test_what_is_refused_and_where(read, text, line, fact):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 3
    assert caught.value.fact.startswith(f"swiftdeploy.toml:{line}: ")
    assert fact in caught.value.fact
    assert caught.value.hint


@pytest.mark.parametrize("name", REPORT_FILES.values())
def test_a_report_and_a_bundle_cannot_have_one_name(read, name):
    with pytest.raises(ConfigError, match=f"the report {name}"):
        read(f'[models."{name}"]\nuntrained = 0')
    elsewhere = read(f'[models."{name}"]\nuntrained = 0\n[reports]\nfolder = "reports"')
    assert [model for model, _ in elsewhere.models] == [name]


def test_a_report_that_is_not_written_reserves_no_name(read):
    assert read('[models."index.html"]\nuntrained = 0\n[reports]\nformats = ["junit"]').models[0][0] == "index.html"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("[models.a]\nuntrained = 0\nuntrained = 1", "Cannot overwrite a value"),
        ("x = " + "[" * 9000, "nested too deeply"),
        ("x = " + "1" * 9000, "does not parse"),
        ("", "swiftdeploy.toml:1: models: it names no model"),
        ("[models]", "swiftdeploy.toml:1: models: it names no model"),
    ],
)
def test_what_does_not_parse(read, text, fact):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert fact in caught.value.fact


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "swiftdeploy.toml").open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(ConfigError, match="more than anybody writes"):
        read_config(tmp_path / "swiftdeploy.toml")


def test_defaults_and_budgets_go_to_every_model_and_each_may_say_otherwise(read):
    found = read(
        """
        baseline = "old/run.json"
        [defaults]
        targets = ["onnx"]
        precisions = ["fp32"]
        opset = 18
        [budgets]
        size = { max = "4 MB", max_ratio = 1.02 }
        parity = { min = 45 }
        [models.a]
        untrained = 0
        [models.b]
        untrained = 1
        opset = 19
        budgets.size = { max = "512 kB" }
        """
    )
    a, b = (entry for _, entry in found.models)
    assert (a.targets, a.precisions, a.opset, b.targets, b.opset) == (("onnx",), ("fp32",), 18, ("onnx",), 19)
    assert (a.budgets.size.max, a.budgets.size.max_ratio, a.budgets.parity.min) == ("4 MB", 1.02, 45.0)
    assert (b.budgets.size.max, b.budgets.size.max_ratio, b.budgets.parity.min) == ("512 kB", None, 45.0)
    assert (a.budgets.relative, b.budgets.relative) == (("size.max_ratio",), ())


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[models.a]\nuntrained = 0\n[budgets]\nsize = { max_ratio = 1.1 }", 4, "budgets.size.max_ratio"),
        ("[models.a]\nuntrained = 0\n[budgets.parity]\nmin = 9\nmax_drop = 1", 5, "budgets.parity.max_drop"),
        (
            "[budgets]\nsize.max = '1 MB'\n[models.a]\nuntrained = 0\nbudgets.size.max_ratio = 1.1",
            *(5, "models.a.budgets.size.max_ratio"),
        ),
        (
            "[models.b]\nuntrained = 0\nbaseline = 'x'\n[models.a]\nuntrained = 0\n[budgets]\nlatency.max_ratio = 2",
            *(7, "budgets.latency.max_ratio"),
        ),
    ],
)
def test_a_relative_limit_needs_a_baseline_from_the_file_or_the_command_line(read, tmp_path, text, line, key):
    found = read(text)
    with pytest.raises(ConfigError) as caught:
        check_baselines(found, tmp_path / "swiftdeploy.toml")
    assert caught.value.fact == f"swiftdeploy.toml:{line}: {key}: it needs a baseline, and none is named"
    assert "leave this limit out until" in caught.value.hint
    check_baselines(dataclasses.replace(found, baseline="dist"), tmp_path / "swiftdeploy.toml")
    check_baselines(read("baseline = 'x'\n" + text), tmp_path / "swiftdeploy.toml")


def test_an_absolute_limit_needs_no_baseline(read, tmp_path):
    found = read("[models.a]\nuntrained = 0\n[budgets]\nsize.max = '1 MB'")
    check_baselines(found, tmp_path / "swiftdeploy.toml")


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"\xff\xfe", "it is UTF-16"),
        ("# é\n[models.a]\nuntrained = 0".encode("utf-16"), "it is UTF-16"),
        ("[models.a]\nuntrained = 0".encode("utf-16-be"), "it is UTF-16"),
        ("[models.a]\nuntrained = 0".encode("utf-16-le"), "it is UTF-16"),
        ("# é".encode("latin-1"), "it is no UTF-8: unexpected end of data at byte 2"),
    ],
)
def test_another_encoding_is_named(tmp_path, data, fact):
    path = tmp_path / "swiftdeploy.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert caught.value.fact == f"swiftdeploy.toml cannot be read: {fact}"
    assert caught.value.hint == "save it as UTF-8, as TOML is"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "swiftdeploy.toml"
    path.write_text("[models.a]\nuntrained = 0", encoding="utf-8-sig")
    assert [name for name, _ in read_config(path).models] == ["a"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("chekpoint", "checkpoint"), ("atention", "attention"), ("target", "targets"), ("min-ios", "min_ios")],
)
def test_an_unknown_key_names_the_nearest(read, wrong, right):
    with pytest.raises(ConfigError) as caught:
        read(f'[models.a]\nuntrained = 0\n{wrong} = "x"')
    assert caught.value.hint == f"did you mean {right!r}?"


def test_an_unknown_key_like_none_lists_all(read):
    with pytest.raises(ConfigError) as caught:
        read("[models.a]\nuntrained = 0\nzzzzzz = 1")
    assert "known keys: attention, baseline, batch" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [("4 MB", 4_000_000), ("4MB", 4_000_000), ("0.1 MB", 100_000), ("1.5 KiB", 1536), ("0 B", 0), ("2.7 B", 2)],
)
def test_sizes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "4", "4 mb", "-1 MB", "1e3 B", "4 MB\n", " 4 MB", "٤ MB", ".5 MB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size"):
        bytes_of(text)
