"""swiftdeploy.toml as frozen values."""

from pathlib import Path

import pytest

from swiftdeploy.config import options_of, read_config
from swiftdeploy.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def parse(text):
        path = tmp_path / "swiftdeploy.toml"
        path.write_text(text)
        return read_config(path)

    return parse


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


@pytest.mark.parametrize(("size", "expected"), [("[64]", (64, 64)), ("[64, 96]", (64, 96)), ("[]", None)])
def test_size(read, size, expected):
    ((_, entry),) = read(f"[models.a]\nuntrained = 0\nsize = {size}").models
    assert options_of(entry, "here").input_size == expected


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("models = 3", "models are tables"),
        ("output = 3", "output is a text"),
        ("[models]\na = 3", "is no table"),
        ("[models.a]\nuntrained = true", "untrained: expected int, found bool"),
        ('[models.a]\nuntrained = 0\nbatch = "2"', "batch: expected int, found str"),
        ('[models.a]\nuntrained = 0\ntargets = "coreml"', "targets: expected an array, found str"),
        ("[models.a]\nuntrained = 0\nsize = [1, 2, 3]", "size has 3 numbers"),
        ("[models.a]\nuntrained = 0\nsize = [8]", "under 32 px"),
        ('[models.a]\nuntrained = 0\ncheckpoint = "x"', "one of the two"),
        ("[models.a]", "one of the two"),
        ('[models.a]\nuntrained = 0\ninput = "image"\nbatch = 2', "holds one image"),
        ("[models.a]\nuntrained = 0\ndynamic_batch = true", "for ONNX only"),
        ('[models.""]\nuntrained = 0', "cannot be ''"),
        ('[models.".."]\nuntrained = 0', "cannot be '..'"),
        ('[models.".hidden"]\nuntrained = 0', "cannot be '.hidden'"),
        ("[models.a]\nuntrained = 0\nuntrained = 1", "toml"),
        ("x = " + "[" * 9000, "nested too deeply"),
    ],
)
def test_what_is_refused(read, text, fact):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 3
    assert fact in caught.value.fact
    assert "ModelEntry" not in caught.value.fact
    assert caught.value.hint


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "swiftdeploy.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(path)


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
    assert "known keys: attention, batch" in caught.value.hint
