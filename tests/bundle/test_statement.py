"""The statement against in-toto's own classes and the protobuf definition of SLSA provenance."""

import dataclasses
import json

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from packageurl import PackageURL

from swiftdeploy import bundle
from swiftdeploy.bundle.attestations import ENVELOPE_NAME
from swiftdeploy.bundle.statement import package_url, statement, subjects
from swiftdeploy.bundle.sums import SUMS_NAME


def parse(text):
    """Refused by protobuf for a key that the definitions lack, or a value of another type."""
    found = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(found).validate()
    predicate = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    return found, predicate


@pytest.fixture
def text(tiny):
    return (tiny / bundle.STATEMENT_NAME).read_text(encoding="utf-8")


def test_in_toto_and_slsa_accept_it(text):
    found, predicate = parse(text)
    assert found.predicate_type == "https://slsa.dev/provenance/v1"
    assert predicate.build_definition.build_type.startswith("urn:swiftdeploy:")
    assert predicate.run_details.builder.id
    assert predicate.run_details.builder.version["swiftdeploy"] == "0.1.0"


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(subject=[]),
        lambda plain: plain["subject"][0].pop("digest"),
        lambda plain: plain.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda plain: plain["predicate"].update(buildConfig={}),
        lambda plain: plain["predicate"]["runDetails"]["builder"].update(id=7),
    ],
)
def test_those_checks_can_fail(text, change):
    plain = json.loads(text)
    change(plain)
    with pytest.raises((ValueError, json_format.ParseError)):
        parse(json.dumps(plain))


def test_every_file_before_it_is_a_subject(tiny, text):
    found, _ = parse(text)
    stated = {subject.name: subject.digest["sha256"] for subject in found.subject}
    files = {record.path: record.sha256 for record in bundle.records(tiny)}
    assert stated == {name: d for name, d in files.items() if name not in (bundle.STATEMENT_NAME, SUMS_NAME)}
    assert bundle.MANIFEST_NAME in stated
    assert ENVELOPE_NAME not in stated


def test_what_went_in(text):
    _, predicate = parse(text)
    materials = {item.name: item for item in predicate.build_definition.resolved_dependencies}
    assert materials["größe.pth"].digest["sha256"] == "00" * 32
    assert materials["nets:tiny"].digest["dirHash"] == "11" * 32
    assert materials["swiftdeploy"].uri == "pkg:generic/swiftdeploy@0.1.0"
    given = json_format.MessageToDict(predicate.build_definition.external_parameters)
    assert given["model"] == "nets:tiny"
    assert given["options"] == {"batch": 1}
    assert given["labels"] == "labels.txt"
    assert "seed" not in given


def test_untrained_weights_are_a_seed_and_no_material(tiny):
    manifest = bundle.read_manifest(tiny)
    provenance = dataclasses.replace(manifest.provenance, weights="untrained", source="seed 3", sha256="", seed=3)
    plain = statement(dataclasses.replace(manifest, provenance=provenance), manifest.files)
    parse(json.dumps(plain))
    definition = plain["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["seed"] == 3
    assert "seed 3" not in [item["name"] for item in definition["resolvedDependencies"]]


def test_shards_and_images_have_tree_digests(tiny):
    manifest = bundle.read_manifest(tiny)
    provenance = dataclasses.replace(manifest.provenance, format="safetensors-sharded")
    recipe = dataclasses.replace(manifest.recipe, images="22" * 32)
    plain = statement(dataclasses.replace(manifest, provenance=provenance, recipe=recipe), manifest.files)
    parse(json.dumps(plain))
    materials = {item["name"]: item for item in plain["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert materials["größe.pth"]["digest"] == {"dirHash": "00" * 32}
    assert materials["images"]["digest"] == {"dirHash": "22" * 32}


def test_no_time_and_no_place(text):
    plain = json.loads(text)
    assert "metadata" not in plain["predicate"]["runDetails"]
    assert not any(mark in text for mark in ("startedOn", "finishedOn", "invocationId", "/tmp", "/home"))


@pytest.mark.parametrize(
    ("name", "version"),
    [("torch", "2.13.0+cpu"), ("numpy", "2.3.5"), ("python", "3.11.7"), ("swiftdeploy", "0.1.0rc1")],
)
def test_package_urls_are_the_ones_of_the_reference_library(name, version):
    text = package_url(name, version)
    read = PackageURL.from_string(text)
    assert (read.name, read.version) == (name, version)
    assert read.type == ("generic" if name in ("python", "swiftdeploy") else "pypi")
    assert read.to_string() == text


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"_type": "x"}', "not json", "[" * 100_000])
def test_what_is_no_statement(text):
    with pytest.raises((ValueError, RecursionError)):
        subjects(text.encode())


@pytest.mark.parametrize("value", [None, 3, [{}], [{"name": "a"}], [{"name": "a", "digest": {}}], ["a"]])
def test_subjects_of_another_form(tiny, value):
    plain = json.loads((tiny / bundle.STATEMENT_NAME).read_text())
    with pytest.raises(ValueError, match="subjects"):
        subjects(json.dumps({**plain, "subject": value}).encode())
