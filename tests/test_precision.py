import pytest

from swiftdeploy import precision
from swiftdeploy.errors import UsageError
from swiftdeploy.spec import ExportOptions


def test_every_name_is_parsed_to_itself():
    assert [precision.parse(name).name for name in precision.NAMES] == list(precision.NAMES)


@pytest.mark.parametrize(("name", "compute"), [("fp32", "fp32"), ("fp16", "fp16"), ("auto", "fp16")])
def test_what_a_precision_computes_in(name, compute):
    assert precision.parse(name).compute == compute


@pytest.mark.parametrize("name", ["", "FP16", "fp8", "half", "fp16 "])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match="is not known"):
        precision.parse(name)


def test_a_precision_that_no_target_has_is_refused():
    with pytest.raises(UsageError, match="'auto' is for coreml"):
        ExportOptions(targets=("onnx",), precisions=("fp16", "auto"))


def test_a_target_gets_the_precisions_that_it_has():
    options = ExportOptions(targets=("coreml", "onnx"), precisions=("fp16", "auto"))
    assert options.matrix == (("coreml", "fp16"), ("coreml", "auto"), ("onnx", "fp16"))
