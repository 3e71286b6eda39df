"""The JSON Schema of swiftdeploy.toml against the parser. The oracle is jsonschema, with integers as TOML has them.

Two things only the parser knows, and they are left out here: what several keys say together (a dynamic batch without
ONNX, a relative budget without a baseline, folders that meet) and which precisions there are.
"""

import copy
import tomllib

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swiftdeploy.config import make_config_schema, read_config, starter
from swiftdeploy.config.entries import ModelEntry
from swiftdeploy.config.starter import toml
from swiftdeploy.errors import ConfigError
from swiftdeploy.schema import load_schema

STRICT = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, v: type(v) is int),
)
VALIDATOR = STRICT(load_schema("config/config"))
WORDS = st.text(alphabet="abcXYZ019_- é", min_size=1, max_size=8)
NUMBERS = st.floats(0.5, 100, allow_nan=False)
SIZES = st.from_regex(r"[1-9][0-9]{0,3}(\.[0-9])? ?(kB|MB|GiB)", fullmatch=True)


def table(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


def budgets():
    size = table({"max": SIZES})
    shares = st.floats(0, 1, allow_nan=False)
    return table(
        size=size,
        bundle_size=size,
        parity=table({"min": NUMBERS}),
        drift=table({"min": st.integers(0, 90)}),
        top1=table({"images": WORDS, "min": shares}),
        placement=table({"error": st.integers(0, 9)}, warning=st.integers(0, 9)),
        latency=table({"max_ms": NUMBERS}, device=WORDS, unit=WORDS, missing=st.sampled_from(["fail", "skip"])),
    )


SHARED = {
    "attention": st.sampled_from(["sum", "token_l2"]),
    "labels": WORDS,
    "images": WORDS,
    "targets": st.lists(st.sampled_from(["coreml", "onnx"]), min_size=1, max_size=3),
    "precisions": st.lists(st.sampled_from(["fp16", "fp32"]), min_size=1, max_size=3),
    "min_ios": st.sampled_from([15, 16, 17, 18, 26]),
    "opset": st.integers(17, 20),
    "size": st.lists(st.integers(32, 999), max_size=2),
}


def model():
    weights = {"checkpoint": WORDS}, {"untrained": st.integers(0, 2**63 - 1)}
    extra = {**SHARED, "model": WORDS, "budgets": budgets()}
    pinned = {**extra, "sha256": st.from_regex("[0-9a-f]{64}", fullmatch=True)}
    return table(weights[0], **pinned) | table(weights[1], **extra)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
DOCUMENTS = table(
    {"models": st.dictionaries(NAMES, model(), min_size=1, max_size=3)},
    output=WORDS,
    defaults=table(**SHARED),
    budgets=budgets(),
    reports=table(formats=st.lists(st.sampled_from(["json", "junit", "html"]), max_size=3)),
    cache=table(max_size=SIZES, folder=WORDS),
)
WRONG = st.sampled_from([None, True, -1, 0, 3, 1.5, 10**30, "", "x", "4 MB", [], [[]], ["x"], [32], {}, {"x": 1}])


def text_of(plain):
    def inline(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{toml(k)} = {inline(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return repr(value) if isinstance(value, float) else toml(value)

    return "".join(f"{toml(key)} = {inline(value)}\n" for key, value in plain.items())


def places(plain, path=()):
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def parses(tmp_path_factory, plain):
    path = tmp_path_factory.getbasetemp() / "swiftdeploy.toml"
    path.write_text(text_of(plain), encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8")) == plain
    try:
        read_config(path)
    except ConfigError as error:
        return error.fact
    return ""


def test_the_schema_that_ships_is_current():
    assert load_schema("config/config") == make_config_schema()
    jsonschema.Draft202012Validator.check_schema(load_schema("config/config"))


@given(plain=DOCUMENTS)
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_both_accept_what_is_right(tmp_path_factory, plain):
    assert parses(tmp_path_factory, plain) == ""
    VALIDATOR.validate(plain)


@given(plain=DOCUMENTS, data=st.data())
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
def test_both_agree_on_what_was_changed(tmp_path_factory, plain, data):
    """One value replaced, one key added or one taken away: either both refuse the file or none does."""
    changed = copy.deepcopy(plain)
    *path, last = data.draw(st.sampled_from(list(places(plain))))
    target = changed
    for part in path:
        target = target[part]
    match data.draw(st.sampled_from(["replace", "replace", "add", "remove"])):
        case "replace":
            target[last] = data.draw(WRONG.filter(lambda value: value is not None))
        case "add" if isinstance(target, dict):
            target[data.draw(st.sampled_from(["size", "max", "chekpoint", "models", "min", "untrained"]))] = 3
        case _:
            del target[last]
    fact = parses(tmp_path_factory, changed)
    only_the_parser = (
        "precision ",
        "calibrated on images",
        "for ONNX only",
        ".onnx file",
        "one folder on a Mac",
        "in the bundle",
    )
    if any(part in fact for part in only_the_parser):
        return
    assert VALIDATOR.is_valid(changed) == (fact == ""), fact


@pytest.mark.parametrize("wrong", [["fp15"], ["x"]])
def test_precisions_are_the_parsers_business(tmp_path_factory, wrong):
    plain = {"models": {"a": {"untrained": 0, "precisions": wrong}}}
    assert VALIDATOR.is_valid(plain)
    assert "is not known" in parses(tmp_path_factory, plain)


def test_an_editor_is_told_what_every_key_means():
    def described(node, path):
        for name, child in node.get("properties", {}).items():
            assert child.get("description") or child.get("properties"), (*path, name)
            described(child, (*path, name))

    described(load_schema("config/config"), ())


@given(
    name=WORDS.filter(lambda name: not name.startswith(".")) | st.just("a"),
    entry=st.builds(
        ModelEntry,
        model=WORDS,
        checkpoint=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        attention=st.sampled_from([None, "sum"]),
        labels=WORDS,
        targets=st.sampled_from([("coreml",), ("coreml", "onnx")]),
        size=st.sampled_from([(), (64,), (64, 32)]),
        batch=st.integers(1, 4),
    ),
)
@settings(max_examples=100)
def test_what_init_writes_parses_to_what_was_meant(tmp_path_factory, name, entry):
    path = tmp_path_factory.getbasetemp() / "swiftdeploy.toml"
    text = starter([(name, entry)], output="out dir")
    path.write_bytes(text.encode())
    VALIDATOR.validate(tomllib.loads(text))
    found = read_config(path)
    assert (found.models, found.output) == (((name, entry),), "out dir")
