"""The Xcode project file: explicit file references and ids that follow from names, so that it diffs and never churns.

In: the app's and the tests' files, models and resources. Out: the text of project.pbxproj. objectVersion 60 is the
oldest that knows local Swift packages, so Xcode 15 and all later ones open it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | Sequence["Value"] | Mapping[str, "Value"]

NAME = "Bench"
APP = "Bench"
TESTS = "BenchTests"
PACKAGE = "BenchKit"
CONFIGURATIONS = ("Debug", "Release")

# folder.mlpackage makes Xcode's build rule compile the package; a plain folder would be copied as it is.
_FILE_TYPES = {
    "swift": "sourcecode.swift",
    "mlpackage": "folder.mlpackage",
    "json": "text.json",
    "plist": "text.plist.xml",
    "safetensors": "file",
    "xcconfig": "text.xcconfig",
    "md": "net.daringfireball.markdown",
}
_BARE = re.compile(r"[A-Za-z0-9_./]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectFiles:
    """Paths relative to the project's folder, POSIX: Swift sources of both targets, packages, and resources."""

    app: tuple[str, ...]
    tests: tuple[str, ...]
    models: tuple[str, ...]
    resources: tuple[str, ...]
    min_ios: int


def identifier(key: str) -> str:
    """The 24 hex digits that name an object, from what the object is."""
    return hashlib.sha256(f"swiftdeploy/{key}".encode()).hexdigest()[:24].upper()


def project_text(files: ProjectFiles) -> str:
    """The text of project.pbxproj."""
    objects: dict[str, Mapping[str, Value]] = {}
    for path in (*files.app, *files.tests, *files.models, *files.resources, "App/Info.plist", "Bench.xcconfig"):
        objects[identifier(path)] = _file_reference(path)
    objects |= _products()
    objects |= _groups(files)
    objects |= _target(
        APP, "com.apple.product-type.application", f"{APP}.app", (*files.app, *files.models), files.resources, ()
    )
    objects |= _target(
        TESTS, "com.apple.product-type.bundle.unit-test", f"{TESTS}.xctest", files.tests, (), (identifier("depends"),)
    )
    objects |= _dependency()
    objects |= _configurations(files.min_ios)
    objects |= _project()
    return _render(objects)


def _file_reference(path: str) -> Mapping[str, Value]:
    return {
        "isa": "PBXFileReference",
        "lastKnownFileType": _FILE_TYPES[path.rsplit(".", 1)[-1]],
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "sourceTree": "SOURCE_ROOT",
    }


def _products() -> dict[str, Mapping[str, Value]]:
    kinds = {f"{APP}.app": "wrapper.application", f"{TESTS}.xctest": "wrapper.cfbundle"}
    made: dict[str, Mapping[str, Value]] = {
        identifier(f"product {name}"): {
            "isa": "PBXFileReference",
            "explicitFileType": kind,
            "includeInIndex": "0",
            "path": name,
            "sourceTree": "BUILT_PRODUCTS_DIR",
        }
        for name, kind in kinds.items()
    }
    made[identifier("package")] = {"isa": "XCLocalSwiftPackageReference", "relativePath": PACKAGE}
    return made


def _groups(files: ProjectFiles) -> dict[str, Mapping[str, Value]]:
    children = {
        "App": (*files.app, "App/Info.plist"),
        "Tests": files.tests,
        "Models": files.models,
        "Resources": files.resources,
    }
    made = {
        identifier(f"group {name}"): _group(name, [identifier(p) for p in paths]) for name, paths in children.items()
    }
    products = [identifier(f"product {APP}.app"), identifier(f"product {TESTS}.xctest")]
    made[identifier("group Products")] = _group("Products", products)
    top = [*(identifier(f"group {name}") for name in (*children, "Products")), identifier("Bench.xcconfig")]
    made[identifier("group main")] = {"isa": "PBXGroup", "children": top, "sourceTree": "<group>"}
    return made


def _group(name: str, children: Sequence[str]) -> Mapping[str, Value]:
    return {"isa": "PBXGroup", "children": children, "name": name, "sourceTree": "<group>"}


def _target(
    name: str,
    kind: str,
    product: str,
    sources: Sequence[str],
    resources: Sequence[str],
    dependencies: Sequence[str],
) -> dict[str, Mapping[str, Value]]:
    made: dict[str, Mapping[str, Value]] = {}
    phases = {"Sources": sources, "Resources": resources}
    for phase, paths in phases.items():
        for path in paths:
            made[identifier(f"{name} builds {path}")] = {"isa": "PBXBuildFile", "fileRef": identifier(path)}
        made[identifier(f"{name} {phase}")] = _phase(phase, [identifier(f"{name} builds {p}") for p in paths])
    made[identifier(f"{name} links")] = {"isa": "PBXBuildFile", "productRef": identifier(f"{name} uses {PACKAGE}")}
    made[identifier(f"{name} Frameworks")] = _phase("Frameworks", [identifier(f"{name} links")])
    made[identifier(f"{name} uses {PACKAGE}")] = {"isa": "XCSwiftPackageProductDependency", "productName": PACKAGE}
    made[identifier(f"target {name}")] = {
        "isa": "PBXNativeTarget",
        "buildConfigurationList": identifier(f"configurations of {name}"),
        "buildPhases": [identifier(f"{name} {phase}") for phase in ("Sources", "Frameworks", "Resources")],
        "buildRules": [],
        "dependencies": dependencies,
        "name": name,
        "packageProductDependencies": [identifier(f"{name} uses {PACKAGE}")],
        "productName": name,
        "productReference": identifier(f"product {product}"),
        "productType": kind,
    }
    return made


def _phase(name: str, files: Sequence[str]) -> Mapping[str, Value]:
    return {
        "isa": f"PBX{name}BuildPhase",
        "buildActionMask": "2147483647",
        "files": files,
        "runOnlyForDeploymentPostprocessing": "0",
    }


def _dependency() -> dict[str, Mapping[str, Value]]:
    return {
        identifier("depends"): {
            "isa": "PBXTargetDependency",
            "target": identifier(f"target {APP}"),
            "targetProxy": identifier("proxy"),
        },
        identifier("proxy"): {
            "isa": "PBXContainerItemProxy",
            "containerPortal": identifier("project"),
            "proxyType": "1",
            "remoteGlobalIDString": identifier(f"target {APP}"),
            "remoteInfo": APP,
        },
    }


def _settings(min_ios: int) -> Mapping[tuple[str, str], Mapping[str, Value]]:
    """Build settings by owner ("project" or a target) and configuration ("" for both)."""
    return {
        ("project", ""): {
            "ALWAYS_SEARCH_USER_PATHS": "NO",
            "CLANG_ENABLE_MODULES": "YES",
            "CODE_SIGN_STYLE": "Automatic",
            "COREML_CODEGEN_LANGUAGE": "None",
            "ENABLE_USER_SCRIPT_SANDBOXING": "YES",
            "IPHONEOS_DEPLOYMENT_TARGET": f"{min_ios}.0",
            "SDKROOT": "iphoneos",
            "SWIFT_STRICT_CONCURRENCY": "complete",
            "SWIFT_VERSION": "5.0",
            "TARGETED_DEVICE_FAMILY": "1,2",
        },
        ("project", "Debug"): {
            "ENABLE_TESTABILITY": "YES",
            "ONLY_ACTIVE_ARCH": "YES",
            "SWIFT_ACTIVE_COMPILATION_CONDITIONS": "DEBUG $(inherited)",
            "SWIFT_OPTIMIZATION_LEVEL": "-Onone",
        },
        ("project", "Release"): {
            "SWIFT_COMPILATION_MODE": "wholemodule",
            "SWIFT_OPTIMIZATION_LEVEL": "-O",
            "VALIDATE_PRODUCT": "YES",
        },
        (APP, ""): {
            "CURRENT_PROJECT_VERSION": "1",
            "GENERATE_INFOPLIST_FILE": "YES",
            "INFOPLIST_FILE": "App/Info.plist",
            "INFOPLIST_KEY_UIApplicationSceneManifest_Generation": "YES",
            "INFOPLIST_KEY_UILaunchScreen_Generation": "YES",
            "LD_RUNPATH_SEARCH_PATHS": ["$(inherited)", "@executable_path/Frameworks"],
            "MARKETING_VERSION": "1.0",
            "PRODUCT_BUNDLE_IDENTIFIER": "$(BENCH_BUNDLE_ID)",
            "PRODUCT_NAME": "$(TARGET_NAME)",
        },
        (TESTS, ""): {
            "BUNDLE_LOADER": "$(TEST_HOST)",
            "GENERATE_INFOPLIST_FILE": "YES",
            "PRODUCT_BUNDLE_IDENTIFIER": "$(BENCH_BUNDLE_ID).tests",
            "PRODUCT_NAME": "$(TARGET_NAME)",
            "TEST_HOST": f"$(BUILT_PRODUCTS_DIR)/{APP}.app/$(BUNDLE_EXECUTABLE_FOLDER_PATH)/{APP}",
        },
    }


def _configurations(min_ios: int) -> dict[str, Mapping[str, Value]]:
    settings = _settings(min_ios)
    made: dict[str, Mapping[str, Value]] = {}
    for owner in ("project", APP, TESTS):
        for name in CONFIGURATIONS:
            configuration: dict[str, Value] = {
                "isa": "XCBuildConfiguration",
                "buildSettings": {**settings[owner, ""], **settings.get((owner, name), {})},
                "name": name,
            }
            if owner == "project":
                configuration["baseConfigurationReference"] = identifier("Bench.xcconfig")
            made[identifier(f"{name} of {owner}")] = configuration
        made[identifier(f"configurations of {owner}")] = {
            "isa": "XCConfigurationList",
            "buildConfigurations": [identifier(f"{name} of {owner}") for name in CONFIGURATIONS],
            "defaultConfigurationIsVisible": "0",
            "defaultConfigurationName": "Release",
        }
    return made


def _project() -> dict[str, Mapping[str, Value]]:
    attributes: Mapping[str, Value] = {
        "BuildIndependentTargetsInParallel": "1",
        "LastSwiftUpdateCheck": "1600",
        "LastUpgradeCheck": "1600",
        "TargetAttributes": {
            identifier(f"target {APP}"): {"CreatedOnToolsVersion": "16.0"},
            identifier(f"target {TESTS}"): {
                "CreatedOnToolsVersion": "16.0",
                "TestTargetID": identifier(f"target {APP}"),
            },
        },
    }
    return {
        identifier("project"): {
            "isa": "PBXProject",
            "attributes": attributes,
            "buildConfigurationList": identifier("configurations of project"),
            "compatibilityVersion": "Xcode 15.0",
            "developmentRegion": "en",
            "hasScannedForEncodings": "0",
            "knownRegions": ["en", "Base"],
            "mainGroup": identifier("group main"),
            "packageReferences": [identifier("package")],
            "productRefGroup": identifier("group Products"),
            "projectDirPath": "",
            "projectRoot": "",
            "targets": [identifier(f"target {APP}"), identifier(f"target {TESTS}")],
        }
    }


def _render(objects: Mapping[str, Mapping[str, Value]]) -> str:
    # Xcode groups objects by kind, and orders an object's keys with its kind first; a reader's grammar may insist.
    ordered = sorted(objects.items(), key=lambda item: (str(item[1]["isa"]), item[0]))
    root: Mapping[str, Value] = {
        "archiveVersion": "1",
        "classes": {},
        "objectVersion": "60",
        "objects": {key: _ordered(value) for key, value in ordered},
        "rootObject": identifier("project"),
    }
    return f"// !$*UTF8*$!\n{_plist(root, 0)}\n"


def _ordered(value: Mapping[str, Value]) -> Mapping[str, Value]:
    keys = sorted(value, key=lambda key: (key != "isa", key))
    return {key: _ordered(item) if isinstance(item := value[key], Mapping) else item for key in keys}


def _plist(value: Value, depth: int) -> str:
    """OpenStep's property list notation, as Xcode indents it."""
    tabs = "\t" * depth
    if isinstance(value, str):
        if _BARE.fullmatch(value):
            return value
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, Mapping):
        lines = [f"{tabs}\t{_plist(key, 0)} = {_plist(item, depth + 1)};\n" for key, item in value.items()]
        return "{\n" + "".join(lines) + tabs + "}"
    items = [f"{tabs}\t{_plist(item, depth + 1)},\n" for item in value]
    return "(\n" + "".join(items) + tabs + ")"
