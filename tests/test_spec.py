import dataclasses
import json
import math
import subprocess
import sys

import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.report import FileRecord, RewriteRecord
from swiftdeploy.spec import ExportOptions, ModelSpec, Preprocessing, Published, TensorSpec, from_plain, to_plain

ROW = ModelSpec(
    name="m",
    factory="a.b:c",
    family="f",
    paper="p",
    attention=("sum", "token_l2"),
    preprocessing=Preprocessing(resize=256, crop=224, mean=(0.5,), std=(0.25,)),
    published=(Published(metric="latency_ms", value=0.7, source="s", device="d"),),
)
VALUES = [
    ROW,
    ExportOptions(targets=("coreml", "onnx"), input_size=(64, 32), labels=("a", "b")),
    ExportOptions(),
    TensorSpec(name="image", shape=(1, 3, 32, 32)),
    RewriteRecord(name="n", algebra="a", fired=("x",), declined={"y": "why"}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_value_survives_json(value):
    assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.name = "n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": "9"}, r"FileRecord\.bytes: expected int, found str"),
        ({"bytes": True}, r"FileRecord\.bytes: expected int, found bool"),
        ({"bytes": 1.5}, r"FileRecord\.bytes: expected int, found float"),
        ({"path": None}, r"FileRecord\.path: expected str, found NoneType"),
        ({"size": 9}, "FileRecord: unknown key 'size'"),
    ],
)
def test_another_form_is_refused_with_its_place(change, message):
    plain = {"path": "a", "bytes": 9, "sha256": "0", **change}
    with pytest.raises(ValueError, match=message):
        from_plain(FileRecord, plain)


def test_a_missing_key_is_refused():
    with pytest.raises(ValueError, match="FileRecord: missing key 'sha256'"):
        from_plain(FileRecord, {"path": "a", "bytes": 9})


@pytest.mark.parametrize("plain", [[], "x", 3, None])
def test_what_is_no_object_is_refused(plain):
    with pytest.raises(ValueError, match="expected an object"):
        from_plain(FileRecord, plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": "coreml"}, r"targets: expected an array"),
        ({"targets": ["tflite"]}, r"targets\[0\]: 'tflite' is none of coreml, onnx"),
        ({"input_size": [1, 2, 3]}, "expected 2 items, found 3"),
        ({"input_kind": "video"}, "'video' is none of tensor, image"),
        ({"metadata": {"autor": "x"}}, "unknown key 'autor'"),
    ],
)
def test_nested_forms_are_refused_with_their_place(change, message):
    with pytest.raises(ValueError, match=message):
        from_plain(ExportOptions, {**to_plain(ExportOptions()), **change})


def test_whole_numbers_are_floats_where_floats_are_asked_for():
    assert from_plain(Published, {"metric": "latency_ms", "value": 1, "source": "s"}).value == 1.0
    with pytest.raises(ValueError, match="expected float, found bool"):
        from_plain(Published, {"metric": "latency_ms", "value": True, "source": "s"})
    with pytest.raises(ValueError, match="value: the number is too large"):
        from_plain(Published, {"metric": "latency_ms", "value": 10**400, "source": "s"})


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"targets": ()}, "nothing to export"),
        ({"precisions": ()}, "nothing to export"),
        ({"targets": ("tflite",)}, "target 'tflite' is not known"),
        ({"precisions": ("int7",)}, "precision 'int7' is not known"),
        ({"min_ios": 14}, "--min-ios 14 is not known"),
        ({"opset": 16}, "--opset 16 is not known"),
        ({"batch": 0}, "batch 0 is not positive"),
        ({"input_size": (224, 31)}, "input size (224, 31) is under 32 px"),
        ({"input_kind": "video"}, "--input 'video' is not known"),
        ({"dynamic_batch": True}, "a dynamic batch is for ONNX only"),
        ({"input_kind": "image", "batch": 2}, "a Core ML image input holds one image"),
        ({"precisions": ("int8",), "max_drift_db": math.nan}, "a drift of nan dB cannot be"),
        ({"precisions": ("int8",), "max_drift_db": math.inf}, "a drift of inf dB cannot be"),
    ],
)
def test_options_that_cannot_work_are_refused_when_made(options, fact):
    with pytest.raises(UsageError) as caught:
        ExportOptions(**options)
    assert caught.value.fact == fact
    assert caught.value.hint


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), ((0.5,), (-1.0,))])
def test_preprocessing_needs_a_positive_std_for_each_mean(mean, std):
    with pytest.raises(UsageError, match="one positive std for each mean"):
        Preprocessing(resize=8, crop=8, mean=mean, std=std)


def test_values_load_nothing_heavy():
    code = (
        "import sys, swiftdeploy.spec, swiftdeploy.report, swiftdeploy.config, swiftdeploy.errors; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "coremltools", "onnx", "onnxruntime", "numpy", "typer"} & set(loaded)
