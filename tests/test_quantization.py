import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.quantization import Int8Options, read_int8
from swiftdeploy.spec import ExportOptions, from_plain, to_plain


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        ({"method": "kl"}, "calibration method 'kl' is not known"),
        ({"gelu": "relu"}, "GELU form 'relu' is not known"),
        ({"weight_bits": 4}, "number of weight bits 4 is not known"),
        ({"activations": "int4"}, "activation type 'int4' is not known"),
        ({"percentile": 0.0, "method": "percentile"}, r"percentile 0\.0 makes no range"),
        ({"percentile": 99.9}, "a percentile means nothing to the method 'minmax'"),
    ],
)
def test_options_that_mean_nothing(wrong, fact):
    with pytest.raises(UsageError, match=fact):
        Int8Options(**wrong)


def test_options_are_spelled_as_name_and_value():
    given = ["method=percentile", "percentile=99.99", "weight_bits=8", "gelu=sigmoid", "keep_float=a", "keep_float=b=c"]
    assert read_int8(given) == Int8Options(
        method="percentile", percentile=99.99, weight_bits=8, gelu="sigmoid", keep_float=("a", "b=c")
    )
    assert read_int8([]) == Int8Options()


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        (["methd=entropy"], "'methd=entropy' sets nothing"),
        (["method"], "'method' sets nothing"),
        (["method="], "'method=' sets nothing"),
        (["gelu=tanh", "gelu=exact"], "gelu is said twice"),
        (["weight_bits=many"], "'weight_bits=many' is no number"),
        (["weight_bits=7.5"], "number of weight bits 7.5 is not known"),
        (["percentile=nan", "method=percentile"], "makes no range"),
    ],
)
def test_other_spellings_are_refused(given, fact):
    with pytest.raises(UsageError, match=fact):
        read_int8(given)


def test_the_options_of_an_export_survive_json():
    options = ExportOptions(targets=("onnx",), precisions=("int8",), int8=Int8Options(gelu="tanh", keep_float=("n",)))
    assert from_plain(ExportOptions, to_plain(options)) == options


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"targets": ("coreml",), "precisions": ("int8",)}, "quantise to ONNX int8, which is not asked for"),
        ({"targets": ("onnx",), "precisions": ("w8",)}, "quantise to ONNX int8, which is not asked for"),
        ({"targets": ("onnx",), "precisions": ("int8",), "opset": 17}, "'tanh' needs opset 20, and 17 is asked for"),
    ],
)
def test_options_for_nothing_are_refused(options, fact):
    with pytest.raises(UsageError, match=fact):
        ExportOptions(**options, int8=Int8Options(gelu="tanh"))
