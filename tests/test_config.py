from pathlib import Path

import pytest

from swiftdeploy import config
from swiftdeploy.config import ModelEntry
from swiftdeploy.errors import ConfigError
from swiftdeploy.spec import ExportOptions

EXAMPLE = """
output = "out"

[models.digits]
model = "swiftformer_digits"
checkpoint = "weights/digits.pth"
attention = "token_l2"
targets = ["coreml", "onnx"]
precisions = ["fp16", "fp32"]
min_ios = 17
opset = 18
size = [64, 32]
dynamic_batch = true

[models.swiftformer_xs]
untrained = 3
size = [96]
input = "image"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / config.FILE_NAME
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return config.read_config(path)

    return read


def test_a_whole_file(read, tmp_path):
    found = read(EXAMPLE)
    assert (found.folder, found.output) == (tmp_path, "out")
    entries = dict(found.models)
    assert list(entries) == ["digits", "swiftformer_xs"]
    assert entries["digits"].attention == "token_l2"
    assert entries["swiftformer_xs"].model == "swiftformer_xs"
    assert config.options_of(entries["digits"], "x") == ExportOptions(
        targets=("coreml", "onnx"),
        precisions=("fp16", "fp32"),
        min_ios=17,
        opset=18,
        input_size=(64, 32),
        dynamic_batch=True,
    )
    assert config.options_of(entries["swiftformer_xs"], "x") == ExportOptions(input_size=(96, 96), input_kind="image")


def test_what_a_table_leaves_out_is_the_command_lines_default():
    assert config.options_of(ModelEntry(), "x") == ExportOptions()


def test_paths_are_relative_to_the_file(read, tmp_path, monkeypatch):
    found = read(EXAMPLE)
    assert Path(found.path("weights/digits.pth")) == tmp_path / "weights/digits.pth"
    assert found.path("hf-hub:org/name") == "hf-hub:org/name"
    assert found.path(None) is None
    assert found.path("/absolute/file") == "/absolute/file"
    monkeypatch.setenv("HOME", "/home/somebody")
    assert found.path("~/file") == "/home/somebody/file"


DIGITS = '[models.digits]\ncheckpoint = "a.pth"\n'
WRONG = {
    "no TOML": ("models = [", "swiftdeploy.toml: ", "fix the TOML"),
    "no text": (b"\xff\xfe\x00", "cannot be read", "permissions"),
    "no model": ('output = "x"', "names no model", "[models.NAME]"),
    "a list of models": ("models = [1]", "models are tables", "[models.NAME]"),
    "a number as output": (f"output = 3\n{DIGITS}", "output is a text", "[models.NAME]"),
    "a number as model": ("[models]\ndigits = 3", "[models.digits] is no table", "[models.digits]"),
    "an unknown key": (f'{DIGITS}precison = ["fp16"]', "unknown key 'precison'", "did you mean 'precisions'?"),
    "a far key": (f"{DIGITS}qqqq = 1", "unknown key 'qqqq'", "known keys: "),
    "an unknown key above": (f'outputs = "x"\n{DIGITS}', "unknown key 'outputs'", "did you mean 'output'?"),
    "a path as name": ('[models."../x"]\ncheckpoint = "a"', "cannot be '../x'", "letters and digits"),
    "a hidden name": ('[models.".x"]\ncheckpoint = "a"', "cannot be '.x'", "letters and digits"),
    "an empty name": ('[models.""]\ncheckpoint = "a"', "cannot be ''", "letters and digits"),
    "a wrong type": (f'{DIGITS}min_ios = "17"', "expected int, found str", ""),
    "a wrong target": (f'{DIGITS}targets = ["tflite"]', "'tflite' is none of coreml, onnx", ""),
    "a wrong iOS": (f"{DIGITS}min_ios = 14", "--min-ios 14 is not known", "choose from 15"),
    "a contradiction": (f"{DIGITS}dynamic_batch = true", "a dynamic batch is for ONNX only", "--target onnx"),
    "three sizes": (f"{DIGITS}size = [1, 2, 3]", "size has 3 numbers", "[height, width]"),
    "a small size": (f"{DIGITS}size = [16]", "under 32 px", ""),
    "no weights": ('[models.x]\nmodel = "y"', "needs a checkpoint or an untrained seed", "checkpoint ="),
    "two weights": (f"{DIGITS}untrained = 1", "one of the two", "checkpoint ="),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_line_with_its_place(read, case):
    text, fact, hint = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert fact in caught.value.fact
    assert "swiftdeploy.toml" in caught.value.fact
    assert hint in caught.value.hint
    assert caught.value.hint
    assert caught.value.exit_code == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.read_config(tmp_path / config.FILE_NAME)
