import json

import pytest
from coremltools.proto import Model_pb2

from swiftdeploy.canonical import canonical_manifest, canonicalise_package

DATE = "com.github.apple.coremltools.conversion_date"


def manifest(model="11111111-aaaa", weights="22222222-bbbb"):
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            model: {"author": "com.apple.CoreML", "name": "model.mlmodel", "path": "com.apple.CoreML/model.mlmodel"},
            weights: {"author": "com.apple.CoreML", "name": "weights", "path": "com.apple.CoreML/weights"},
        },
        "rootModelIdentifier": model,
    }


def test_random_identifiers_become_functions_of_the_path():
    first, second = canonical_manifest(manifest()), canonical_manifest(manifest("3333", "4444"))
    assert first == second
    assert len(first["itemInfoEntries"]) == 2
    root = first["itemInfoEntries"][first["rootModelIdentifier"]]
    assert root["path"] == "com.apple.CoreML/model.mlmodel"
    assert first["fileFormatVersion"] == "1.0.0"


@pytest.fixture
def package(tmp_path):
    def package(name, date, order):
        folder = tmp_path / name
        model = Model_pb2.Model(specificationVersion=7)
        for key in order:
            model.description.metadata.userDefined[key] = date if key == DATE else "kept"
        path = folder / "Data" / "com.apple.CoreML" / "model.mlmodel"
        path.parent.mkdir(parents=True)
        path.write_bytes(model.SerializeToString())
        (folder / "Manifest.json").write_text(json.dumps(manifest(f"{name}-1", f"{name}-2")))
        canonicalise_package(folder)
        return folder, path

    return package


def test_date_order_and_identifiers_leave_no_trace(package):
    (first, a), (second, b) = package("x", "2024-01-01", ["b", DATE, "a"]), package("y", "2031-12-31", ["a", "b", DATE])
    assert a.read_bytes() == b.read_bytes()
    assert (first / "Manifest.json").read_bytes() == (second / "Manifest.json").read_bytes()
    model = Model_pb2.Model.FromString(a.read_bytes())
    assert dict(model.description.metadata.userDefined) == {"a": "kept", "b": "kept"}
    assert model.specificationVersion == 7


def test_doing_it_twice_changes_nothing(package):
    folder, path = package("x", "2024-01-01", [DATE, "a"])
    before = path.read_bytes(), (folder / "Manifest.json").read_bytes()
    canonicalise_package(folder)
    assert (path.read_bytes(), (folder / "Manifest.json").read_bytes()) == before
