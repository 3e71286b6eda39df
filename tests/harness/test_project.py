"""The Xcode project: three readers that are not ours, and every reference followed."""

import plistlib
import subprocess
import sys
import xml.etree.ElementTree as ET

import openstep_plist
import pytest
from openstep_parser import OpenStepDecoder

from swiftdeploy.harness.model import HarnessModel
from swiftdeploy.harness.project import ProjectFiles, identifier, project_text
from swiftdeploy.harness.render import render
from swiftdeploy.harness.scheme import scheme_text, workspace_text

FILES = ProjectFiles(
    app=("App/A.swift",),
    tests=("Tests/T.swift",),
    models=("Models/a-fp16.mlpackage", "Models/b-fp16.mlpackage"),
    resources=("Resources/plan.json", "Resources/a-fp16.inputs.safetensors"),
    min_ios=17,
)


@pytest.fixture(scope="module")
def document():
    return openstep_plist.loads(project_text(FILES), use_numbers=False)


def of_kind(document, isa):
    return {key: o for key, o in document["objects"].items() if o["isa"] == isa}


def test_kin_accepts_the_grammar(tmp_path):
    path = tmp_path / "project.pbxproj"
    path.write_text(project_text(FILES))
    script = "import sys; from kin.kin import main; sys.argv = ['kin', sys.argv[1]]; main()"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert "CORRECT" in done.stdout, done.stdout + done.stderr
    path.write_text(project_text(FILES).replace("isa = PBXProject;", "isa PBXProject"))
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert "CORRECT" not in done.stdout


def test_two_parsers_read_the_same(document):
    assert OpenStepDecoder.ParseFromString(project_text(FILES)) == document


def test_pbxproj_finds_the_targets(tmp_path):
    from pbxproj import XcodeProject

    path = tmp_path / "project.pbxproj"
    path.write_text(project_text(FILES))
    project = XcodeProject.load(str(path))
    assert {t.name for t in project.objects.get_targets()} == {"Bench", "BenchTests"}
    assert [c.buildSettings.SDKROOT for c in project.objects.get_project_configurations()] == ["iphoneos"] * 2


REFERENCES = {
    "fileRef", "productRef", "buildConfigurationList", "baseConfigurationReference", "mainGroup", "productRefGroup",
    "productReference", "target", "targetProxy", "containerPortal", "remoteGlobalIDString", "rootObject",
    "children", "files", "buildPhases", "buildConfigurations", "targets", "dependencies", "packageReferences",
    "packageProductDependencies", "TestTargetID",
}  # fmt: skip


def dangling(document):
    """Every reference that points nowhere, and every object that nothing points to."""
    objects, used, missing = document["objects"], {document["rootObject"]}, []

    def walk(value, key):
        if isinstance(value, dict):
            for k, v in value.items():
                walk(v, k)
        elif isinstance(value, list):
            for item in value:
                walk(item, key)
        elif key in REFERENCES:
            used.add(value)
            if value not in objects:
                missing.append((key, value))

    for o in objects.values():
        walk(o, "")
    attributes = objects[document["rootObject"]]["attributes"]["TargetAttributes"]
    missing += [("TargetAttributes", key) for key in attributes if key not in objects]
    return missing, sorted(set(objects) - used)


def test_every_reference_points_at_an_object(document):
    assert dangling(document) == ([], [])


@pytest.mark.parametrize("isa", ["PBXFileReference", "PBXNativeTarget", "XCBuildConfiguration", "PBXBuildFile"])
def test_the_integrity_check_sees_a_lost_object(document, isa):
    lost = next(iter(of_kind(document, isa)))
    objects = {key: o for key, o in document["objects"].items() if key != lost}
    assert dangling({**document, "objects": objects})[0]


def test_models_are_compiled_and_resources_copied(document):
    phases = {name: of_kind(document, f"PBX{name}BuildPhase") for name in ("Sources", "Resources")}
    files = document["objects"]

    def paths(phase):
        return {files[files[f]["fileRef"]]["path"] for p in phases[phase].values() for f in p["files"]}

    assert paths("Sources") == {*FILES.app, *FILES.tests, *FILES.models}
    assert paths("Resources") == set(FILES.resources)
    packages = [o for o in of_kind(document, "PBXFileReference").values() if o["path"].endswith(".mlpackage")]
    assert {o["lastKnownFileType"] for o in packages} == {"folder.mlpackage"}
    members = [f for p in phases["Sources"].values() for f in p["files"]]
    assert len(members) == len(set(members))


def test_settings_that_decide_what_is_measured(document):
    settings = {}
    for o in of_kind(document, "XCBuildConfiguration").values():
        settings.setdefault(o["name"], {}).update(o["buildSettings"])
    for name in ("Debug", "Release"):
        assert settings[name]["COREML_CODEGEN_LANGUAGE"] == "None"
        assert settings[name]["IPHONEOS_DEPLOYMENT_TARGET"] == "17.0"
        assert settings[name]["CODE_SIGN_STYLE"] == "Automatic"
        assert "DEVELOPMENT_TEAM" not in settings[name]  # the xcconfig alone holds it
    assert settings["Release"]["SWIFT_OPTIMIZATION_LEVEL"] == "-O"
    assert "SWIFT_ACTIVE_COMPILATION_CONDITIONS" not in settings["Release"]
    assert document["objectVersion"] == "60"
    assert len(of_kind(document, "XCLocalSwiftPackageReference")) == 1


def test_identifiers_follow_from_names_alone():
    assert project_text(FILES) == project_text(FILES)
    assert identifier("a") != identifier("b")
    assert len(identifier("a")) == 24
    assert int(identifier("a"), 16) >= 0


def test_scheme_runs_release_without_a_debugger(document):
    scheme = ET.fromstring(scheme_text())
    for action in ("TestAction", "LaunchAction"):
        assert scheme.find(action).get("buildConfiguration") == "Release"
        assert scheme.find(action).get("selectedDebuggerIdentifier") == ""
    assert scheme.find("ProfileAction").get("buildConfiguration") == "Release"
    assert "AddressSanitizer" not in scheme_text()
    targets = {key: o["name"] for key, o in of_kind(document, "PBXNativeTarget").items()}
    references = list(scheme.iter("BuildableReference"))
    assert len(references) == 5
    for reference in references:
        assert targets[reference.get("BlueprintIdentifier")] == reference.get("BlueprintName")
    assert ET.fromstring(workspace_text()).find("FileRef").get("location") == "self:"


def test_files_of_a_rendered_project_are_all_there(make_model, tmp_path):
    root = render([make_model("a"), make_model("b.c")], tmp_path / "Bench")
    document = openstep_plist.loads((root / "Bench.xcodeproj/project.pbxproj").read_text(), use_numbers=False)
    assert dangling(document) == ([], [])
    for o in of_kind(document, "PBXFileReference").values():
        if o["sourceTree"] == "SOURCE_ROOT":
            assert (root / o["path"]).exists(), o["path"]
    package = next(iter(of_kind(document, "XCLocalSwiftPackageReference").values()))
    assert (root / package["relativePath"] / "Package.swift").is_file()
    keys = plistlib.loads((root / "App/Info.plist").read_bytes())
    assert keys == {"LSSupportsOpeningDocumentsInPlace": True, "UIFileSharingEnabled": True}


def test_the_oldest_system_is_the_newest_that_a_model_needs(make_model, tmp_path):
    def target(*models: HarnessModel) -> str:
        root = render(models, tmp_path / "-".join(m.name for m in models))
        return (root / "Bench.xcodeproj/project.pbxproj").read_text()

    assert "IPHONEOS_DEPLOYMENT_TARGET = 16.0;" in target(make_model("a", min_ios=15))
    assert "IPHONEOS_DEPLOYMENT_TARGET = 18.0;" in target(make_model("c", min_ios=18), make_model("d", min_ios=16))
