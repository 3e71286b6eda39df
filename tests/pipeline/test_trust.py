import pytest

from swiftdeploy.bundle import RequestRecord
from swiftdeploy.errors import UsageError
from swiftdeploy.pipeline.trust import vouched_model


def recipe(model):
    return RequestRecord(model=model, options={}, arguments={"path": "x"})


def test_a_model_of_the_catalog_needs_no_word():
    assert vouched_model("a", recipe("swiftformer_xs"), None) == "swiftformer_xs"
    assert vouched_model("a", recipe("swiftformer_xs"), "swiftformer_xs") == "swiftformer_xs"


def test_code_that_a_bundle_names_is_not_run_unless_a_person_names_it():
    with pytest.raises(UsageError, match=r"outside the catalog: os:mkdir with \{'path': 'x'\}") as caught:
        vouched_model("a", recipe("os:mkdir"), None)
    assert "--model os:mkdir" in caught.value.hint
    assert vouched_model("a", recipe("os:mkdir"), "os:mkdir") == "os:mkdir"


def test_another_model_is_refused():
    with pytest.raises(UsageError, match="was made from swiftformer_xs"):
        vouched_model("a", recipe("swiftformer_xs"), "swiftformer_s")
