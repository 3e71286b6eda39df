"""The bill of materials against CycloneDX's own JSON schema, as the Python library of that project ships it."""

import dataclasses
import json
import uuid

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from swiftdeploy import bundle
from swiftdeploy.bundle.bom import BOM_NAME, bill_of_materials

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def problem(plain):
    found = VALIDATOR.validate_str(json.dumps(plain))
    return None if found is None else found.data.message


@pytest.fixture
def manifest(tiny):
    return bundle.read_manifest(tiny)


@pytest.fixture
def bill(tiny):
    return json.loads((tiny / BOM_NAME).read_text(encoding="utf-8"))


def test_it_is_a_cyclonedx_bill(bill):
    assert problem(bill) is None
    assert bill["metadata"]["component"]["type"] == "machine-learning-model"


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(extra=1),
        lambda plain: plain["metadata"]["component"]["modelCard"].update(inputs=[]),
        lambda plain: plain["components"][0].pop("name"),
        lambda plain: plain.update(serialNumber="urn:uuid:1"),
        lambda plain: plain["components"][1]["hashes"][0].update(content="00"),
    ],
)
def test_that_check_can_fail(bill, change):
    change(bill)
    assert problem(bill) is not None


def test_every_file_is_in_it_once_with_its_hash(bill, manifest):
    parts = [part for top in bill["components"] for part in (top, *top.get("components", ()))]
    hashes = [(part["name"], part["hashes"][0]["content"]) for part in parts if "hashes" in part]
    assert sorted(hashes) == sorted((record.path, record.sha256) for record in manifest.files)


def test_references_are_unique_and_point_somewhere(bill):
    model = bill["metadata"]["component"]
    tops = [model, *model["pedigree"]["ancestors"], *bill["metadata"]["tools"]["components"], *bill["components"]]
    refs = [part["bom-ref"] for top in tops for part in (top, *top.get("components", ()))]
    assert len(refs) == len(set(refs))
    used = {ref for item in bill["dependencies"] for ref in (item["ref"], *item["dependsOn"])}
    assert used <= set(refs)


def test_the_model_card(bill):
    card = bill["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["inputs"] == [{"format": "tensor image: float32 (1, 3, 2, 2)"}]
    assert card["modelParameters"]["outputs"] == [{"format": "tensor logits: float32 (1, 2)"}]
    assert card["modelParameters"]["task"] == "image classification"
    limits = " ".join(card["considerations"]["technicalLimitations"])
    assert "checkpoint" in limits
    assert "untrained" not in limits
    assert "no phone" in limits
    assert "outputs equal pass, weights 3/3 tensors equal pass" in card["considerations"]["performanceTradeoffs"][0]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {"type": "PSNR in dB", "value": "inf", "slice": "tiny-fp32.mlpackage, outputs, logits"}


def test_untrained_unverified_and_with_texts(manifest):
    provenance = dataclasses.replace(manifest.provenance, weights="untrained", source="seed 0", sha256="", format="")
    changed = dataclasses.replace(
        manifest,
        provenance=provenance,
        labels="",
        artifacts=tuple(dataclasses.replace(a, parity=None) for a in manifest.artifacts),
        metadata=dataclasses.replace(manifest.metadata, license="CC BY 4.0, see LICENSE", version="2", description="x"),
    )
    plain = bill_of_materials(changed)
    assert problem(plain) is None
    model = plain["metadata"]["component"]
    considerations = model["modelCard"]["considerations"]
    assert "untrained" in considerations["technicalLimitations"][0]
    assert "not checked" in considerations["performanceTradeoffs"][0]
    assert "quantitativeAnalysis" not in model["modelCard"]
    assert model["authors"] == [{"name": "someone"}]
    assert model["licenses"] == [{"license": {"name": "CC BY 4.0, see LICENSE"}}]
    assert "hashes" not in model["pedigree"]["ancestors"][0]


def test_shards_have_no_sha256_of_one_file(manifest):
    provenance = dataclasses.replace(manifest.provenance, format="pickle-sharded")
    plain = bill_of_materials(dataclasses.replace(manifest, provenance=provenance))
    assert problem(plain) is None
    weights = plain["metadata"]["component"]["pedigree"]["ancestors"][0]
    assert "hashes" not in weights
    assert {"name": "swiftdeploy:shards_sha256", "value": "00" * 32} in weights["properties"]


def test_the_serial_number_follows_from_the_content(bill, manifest):
    assert bill_of_materials(manifest)["serialNumber"] == bill["serialNumber"]
    assert uuid.UUID(bill["serialNumber"]).version == 5
    other = bill_of_materials(dataclasses.replace(manifest, tree_sha256="0" * 64))
    assert other["serialNumber"] != bill["serialNumber"]
    assert "timestamp" not in bill["metadata"]
