"""The manifest as text and as schema."""

import dataclasses
import hashlib
import json
import math

import jsonschema
import pytest

from swiftdeploy import bundle
from swiftdeploy.bundle import manifest as module
from swiftdeploy.schema import load_schema
from swiftdeploy.seal import sealed
from swiftdeploy.spec import from_plain, to_plain

BOMB = "[" * 200_000 + "]" * 200_000


@pytest.fixture
def manifest(pristine):
    return bundle.read_manifest(pristine)


def test_text_is_canonical(pristine, manifest):
    text = (pristine / bundle.MANIFEST_NAME).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert "größe.pth" in text
    assert bundle.encode(manifest) == text


def test_round_trip(manifest):
    assert from_plain(bundle.Manifest, to_plain(manifest)) == manifest


def test_the_seal_is_the_digest_of_the_text_with_an_empty_seal(pristine, manifest):
    text = (pristine / bundle.MANIFEST_NAME).read_text(encoding="utf-8")
    without = text.replace(manifest.seal, "")
    assert hashlib.sha256(without.encode()).hexdigest() == manifest.seal


def test_the_order_of_construction_does_not_change_the_text(manifest):
    turned = dataclasses.replace(manifest, ops_before=dict(reversed(list(manifest.ops_before.items()))))
    assert bundle.encode(turned) == bundle.encode(manifest)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_never_written(manifest, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        bundle.encode(dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, arguments={"x": value})))


def test_the_schema_that_ships_is_current():
    assert load_schema("bundle/manifest") == module.make_schema()


def test_the_schema_is_a_schema_and_accepts_what_is_written(pristine):
    jsonschema.Draft202012Validator.check_schema(load_schema("bundle/manifest"))
    jsonschema.validate(json.loads((pristine / bundle.MANIFEST_NAME).read_text()), load_schema("bundle/manifest"))


def test_the_schema_closes_every_object_of_known_keys():
    def closed(node):
        if isinstance(node, dict):
            if "properties" in node:
                assert node["additionalProperties"] is False
                assert sorted(node["required"]) == sorted(node["properties"])
            for child in node.values():
                closed(child)
        elif isinstance(node, list):
            for child in node:
                closed(child)

    closed(load_schema("bundle/manifest"))


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], {"a": 1}])
def test_another_schema_version(tiny, damaged, version):
    edit(tiny, lambda plain: plain.update(schema=version))
    damaged(tiny, "manifest.json", f"schema {version!r}", "reads 1")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda plain: plain.pop("golden"), "'golden' is a required property"),
        (lambda plain: plain.update(surprise=1), "surprise"),
        (lambda plain: plain["model"].update(parameters="9"), "model/parameters"),
        (lambda plain: plain["artifacts"][1].update(precision="fp8"), "precision 'fp8'"),
        (lambda plain: plain["files"][0].update(bytes=None), "files/0/bytes"),
        (lambda plain: plain["preprocessing"].update(std=[0.0, 1.0, 1.0]), "positive std"),
        (lambda plain: plain.update(files={}), "files"),
    ],
)
def test_another_form_is_refused_with_its_place(tiny, damaged, change, place):
    edit(tiny, change)
    damaged(tiny, "tiny/manifest.json", place)


def test_a_changed_value_of_the_right_form_is_refused(tiny, damaged):
    edit(tiny, lambda plain: plain["artifacts"][0]["parity"].update(gate_db=40.0), seal=False)
    damaged(tiny, "tiny/manifest.json", "changed after it was written")


def test_the_same_values_in_another_text_are_refused(tiny, damaged):
    path = tiny / bundle.MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text())))
    damaged(tiny, "changed after it was written")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff\xfe{}", b"{}garbage", b'"text"', b"1" * 5000, BOMB.encode()],
    ids=["empty", "open", "null", "array", "no utf-8", "garbage", "text", "long number", "nested"],
)
def test_text_that_is_no_manifest(tiny, damaged, content):
    (tiny / bundle.MANIFEST_NAME).write_bytes(content)
    damaged(tiny, "tiny/manifest.json")


@pytest.mark.parametrize("depth", [300, 600, 900, 5_000])
def test_depth_where_the_schema_allows_anything(tiny, damaged, depth):
    """Deep enough for each of the recursions: the parser's, the validator's and the codec's."""
    path = tiny / bundle.MANIFEST_NAME
    text = path.read_text().replace('"arguments": {}', f'"arguments": {{"x": {"[" * depth}{"]" * depth}}}')
    path.write_text(text)
    damaged(tiny, "tiny/manifest.json")


def test_depth_under_a_fitting_seal(tiny, damaged):
    """The codec's recursion is the first to end; a shallower one is odd, and read."""
    nested = 1
    for _ in range(120):
        nested = [nested]
    edit(tiny, lambda plain: plain["model"].update(arguments={"x": nested}))
    assert bundle.read_manifest(tiny).model.arguments["x"] == nested
    for _ in range(330):
        nested = [nested]
    edit(tiny, lambda plain: plain["model"].update(arguments={"x": nested}))
    assert bundle.read_manifest(tiny).model.arguments["x"] == nested


def test_a_huge_manifest_is_not_read(tiny, damaged):
    with (tiny / bundle.MANIFEST_NAME).open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: a terabyte that takes no room
    damaged(tiny, "tiny/manifest.json", "more than a manifest has")


def test_a_manifest_that_is_a_link_or_a_folder(tiny, damaged, tmp_path):
    path = tiny / bundle.MANIFEST_NAME
    path.rename(tmp_path / "elsewhere.json")
    damaged(tiny, "manifest.json", "missing")
    path.symlink_to(tmp_path / "elsewhere.json")
    damaged(tiny, "manifest.json", "no plain file")
    path.unlink()
    path.mkdir()
    damaged(tiny, "manifest.json", "no plain file")


def test_nan_in_a_manifest(tiny, damaged):
    path = tiny / bundle.MANIFEST_NAME
    path.write_text(path.read_text().replace('"gate_db": 100.0', '"gate_db": NaN', 1))
    damaged(tiny, "tiny/manifest.json")


def canonical(plain):
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def edit(folder, change, *, seal=True):
    """Rewrite the manifest, with a seal that fits as an attacker would, or with the old one."""
    path = folder / bundle.MANIFEST_NAME
    plain = json.loads(path.read_text())
    change(plain)
    if seal:
        plain["seal"] = hashlib.sha256(canonical({**plain, "seal": ""}).encode()).hexdigest()
    path.write_text(canonical(plain))


def test_another_versions_manifest_is_told_from_a_damaged_one(tiny):
    path = tiny / bundle.MANIFEST_NAME
    text = path.read_text()
    plain = json.loads(text)
    assert not bundle.is_foreign(tiny)
    for other in (
        {**plain, "schema": 2},
        {**plain, "of tomorrow": 1},
        {key: plain[key] for key in plain if key != "golden"},
    ):
        path.write_text(sealed(other))
        assert bundle.is_foreign(tiny)
    for damaged in (text.replace("trained", "tramed"), text[:-9], "[]", "", "[" * 10**5):
        path.write_text(damaged)
        assert not bundle.is_foreign(tiny)
    path.unlink()
    assert not bundle.is_foreign(tiny)
