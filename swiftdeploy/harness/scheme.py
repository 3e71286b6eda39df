"""The shared scheme, the workspace and the signing settings that stand beside the project file."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from swiftdeploy.harness.project import APP, NAME, TESTS, identifier

# Without a debugger: a debugger slows every call down, and the result would call itself invalid.
_NO_DEBUGGER = {
    "selectedDebuggerIdentifier": "",
    "selectedLauncherIdentifier": "Xcode.IDEFoundation.Launcher.PosixSpawn",
}
_RELEASE = {"buildConfiguration": "Release"}


def scheme_text() -> str:
    """The text of Bench.xcscheme: Release for every action that runs."""
    scheme = ET.Element("Scheme", LastUpgradeVersion="1600", version="1.7")
    build = ET.SubElement(scheme, "BuildAction", parallelizeBuildables="YES", buildImplicitDependencies="YES")
    entries = ET.SubElement(build, "BuildActionEntries")
    for target in (APP, TESTS):
        others = "NO" if target == TESTS else "YES"
        entry = ET.SubElement(
            entries,
            "BuildActionEntry",
            buildForTesting="YES",
            buildForRunning=others,
            buildForProfiling=others,
            buildForArchiving=others,
            buildForAnalyzing=others,
        )
        _reference(entry, target)
    test = ET.SubElement(scheme, "TestAction", _RELEASE | _NO_DEBUGGER | {"shouldUseLaunchSchemeArgsEnv": "YES"})
    testable = ET.SubElement(ET.SubElement(test, "Testables"), "TestableReference", skipped="NO", parallelizable="NO")
    _reference(testable, TESTS)
    launch = ET.SubElement(
        scheme,
        "LaunchAction",
        _RELEASE
        | _NO_DEBUGGER
        | {
            "launchStyle": "0",
            "useCustomWorkingDirectory": "NO",
            "ignoresPersistentStateOnLaunch": "NO",
            "debugDocumentVersioning": "YES",
            "allowLocationSimulation": "NO",
        },
    )
    profile = ET.SubElement(
        scheme, "ProfileAction", _RELEASE | {"shouldUseLaunchSchemeArgsEnv": "YES", "debugDocumentVersioning": "YES"}
    )
    for action in (launch, profile):
        _reference(ET.SubElement(action, "BuildableProductRunnable", runnableDebuggingMode="0"), APP)
    ET.SubElement(scheme, "AnalyzeAction", buildConfiguration="Debug")
    ET.SubElement(scheme, "ArchiveAction", _RELEASE | {"revealArchiveInOrganizer": "YES"})
    return _document(scheme)


def workspace_text() -> str:
    """The text of contents.xcworkspacedata: the project itself."""
    workspace = ET.Element("Workspace", version="1.0")
    ET.SubElement(workspace, "FileRef", location="self:")
    return _document(workspace)


def _reference(parent: ET.Element, target: str) -> None:
    suffix = "app" if target == APP else "xctest"
    ET.SubElement(
        parent,
        "BuildableReference",
        BuildableIdentifier="primary",
        BlueprintIdentifier=identifier(f"target {target}"),
        BuildableName=f"{target}.{suffix}",
        BlueprintName=target,
        ReferencedContainer=f"container:{NAME}.xcodeproj",
    )


def _document(root: ET.Element) -> str:
    ET.indent(root, "   ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
