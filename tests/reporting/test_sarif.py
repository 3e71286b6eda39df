"""placement.sarif against the rules of the SARIF 2.1.0 schema (OASIS, errata 01) for every property that is written.

The rules stand here as a JSON Schema of our own, closed: a property that it does not name is an error. No package of
the index ships the official schema.
"""

import dataclasses
import json

import jsonschema
import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.reporting.sarif import sarif_json

LEVEL = {"enum": ["none", "note", "warning", "error"]}


def closed(required, **properties):
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def items(schema, **more):
    return {"type": "array", "items": schema, **more}


TEXT = closed(["text"], text={"type": "string", "minLength": 1})
LOCATION = closed(
    ["logicalLocations"],
    logicalLocations=items(
        closed([], name={"type": "string"}, fullyQualifiedName={"type": "string"}, kind={"type": "string"}),
        minItems=1,
        uniqueItems=True,
    ),
    physicalLocation=closed(
        ["artifactLocation"],
        artifactLocation=closed([], uri={"type": "string", "format": "uri-reference"}),
        region=closed([], startLine={"type": "integer", "minimum": 1}),
    ),
)
RULE = closed(
    ["id"],
    id={"type": "string"},
    shortDescription=TEXT,
    fullDescription=TEXT,
    help=TEXT,
    helpUri={"type": "string", "format": "uri", "pattern": "^https://[!-~]+$"},
    defaultConfiguration=closed([], level=LEVEL),
    properties={"type": "object", "properties": {"tags": items({"type": "string"}, uniqueItems=True)}},
)
RESULT = closed(
    ["message"],
    ruleId={"type": "string"},
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=TEXT,
    locations=items(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
)
RUN = closed(
    ["tool"],
    tool=closed(
        ["driver"],
        driver=closed(
            ["name"], name={"type": "string"}, version={"type": "string"}, rules=items(RULE, uniqueItems=True)
        ),
    ),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    invocations=items(
        closed(["executionSuccessful"], executionSuccessful={"type": "boolean"}, exitCode={"type": "integer"})
    ),
    results=items(RESULT),
)
SCHEMA = closed(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs=items(RUN, minItems=1),
)


def load(report):
    document = json.loads(sarif_json(report))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document["runs"][0]


@pytest.mark.parametrize("which", ["green", "red", "empty", "hostile"])
def test_it_keeps_to_the_schema(which, request):
    run = load(request.getfixturevalue(which))
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:  # 3.27.6: the index and the id name the same rule
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(level="fatal"),
        lambda run: run["results"][0].update(rule="x"),
        lambda run: run["tool"].pop("driver"),
    ],
)
def test_the_rules_can_fail(red, change):
    document = json.loads(sarif_json(red))
    change(document["runs"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_one_result_for_each_place_with_its_rule(red):
    run = load(red)
    assert len(run["results"]) == 3 * 8  # three bundles; one error, six transposes, one reshape each
    transpose = next(rule for rule in run["tool"]["driver"]["rules"] if rule["id"] == "ane-transpose")
    assert transpose["defaultConfiguration"] == {"level": "warning"}
    assert transpose["help"]["text"].startswith("keep the channels in one place")
    assert "Deploying Transformers" in transpose["help"]["text"]
    assert "helpUri" not in transpose
    levels = [result["level"] for result in run["results"][:8]]
    assert levels == ["error", *["warning"] * 6, "note"]
    assert len({result["partialFingerprints"]["swiftdeployPlace/v1"] for result in run["results"]}) == 24


def test_places_are_model_artifact_and_op(red):
    result = load(red)["results"][1]
    [location] = result["locations"]
    assert [(place["kind"], place["fullyQualifiedName"]) for place in location["logicalLocations"]] == [
        ("function", "swiftformer_xs/swiftformer_xs-fp16.mlpackage/transpose_0"),
        ("resource", "swiftformer_xs/swiftformer_xs-fp16.mlpackage"),
        ("module", "swiftformer_xs"),
    ]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "swiftdeploy.toml"
    assert len(load(red)["results"][0]["locations"][0]["logicalLocations"]) == 2  # of the package as a whole


@pytest.mark.parametrize("config", ["/home/a/swiftdeploy.toml", "../swiftdeploy.toml", "C:\\a\\b.toml", ""])
def test_a_path_of_this_machine_stays_here(red, config):
    result = load(dataclasses.replace(red, config=config))["results"][0]
    assert "physicalLocation" not in result["locations"][0]


def test_a_rule_links_to_a_source_that_is_an_address(red):
    rule = next(rule for rule in load(red)["tool"]["driver"]["rules"] if rule["id"] == "ane-dynamic-shape")
    assert rule["helpUri"].startswith("https://apple.github.io/")


def test_a_record_of_another_form_is_refused(green):
    summary = dataclasses.replace(green.jobs[0].summary, placement=({"op": "conv"},))
    job = dataclasses.replace(green.jobs[0], summary=summary)
    with pytest.raises(ArtifactError, match="the placement of swiftformer_xs cannot be read") as caught:
        sarif_json(dataclasses.replace(green, jobs=(job,)))
    assert caught.value.exit_code == 7
