"""No line of Swift that we generate is left uncompiled: built and tested here, or type-checked against stubs.

The stubs hold the part of Apple's frameworks that the project uses, each signature with the page that documents it.
Checks go as far as the compiler's mandatory passes on SIL, where data races between isolation regions are found.
"""

import re
import shutil
from pathlib import Path

import pytest

STUBS = Path(__file__).parent / "stubs"
MODULES = {
    "ObjectiveC": ["ObjectiveC.swift"],
    "Darwin": ["Darwin.swift"],
    "CoreVideo": ["CoreVideo.swift"],
    "CoreML": ["CoreML.swift", "Foundation+Apple.swift"],
    "UIKit": ["UIKit.swift"],
    "SwiftUI": ["SwiftUI.swift"],
    "XCTest": ["XCTest.swift"],
}


@pytest.fixture(scope="module")
def stubs(swift, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    for name, files in MODULES.items():
        # Library evolution makes the enums open, as those of Apple's frameworks are: `@unknown default` is then due.
        run(
            "swiftc", "-emit-module", "-parse-as-library", "-enable-library-evolution", "-suppress-warnings",
            "-I", folder, "-module-name", name, *(STUBS / f for f in files), "-o", folder / f"{name}.swiftmodule",
        )  # fmt: skip
    return folder


def check(run, stubs, modules, sources, *options, name=None):
    """Compile `sources` as far as SIL, warnings as errors; with `name` also leave the module in `modules`."""
    made = ("-module-name", name, "-emit-module-path", modules / f"{name}.swiftmodule") if name else ()
    files = sorted(sources.rglob("*.swift"))
    assert files
    return run(
        "swiftc", "-wmo", "-emit-sil", "-parse-as-library", "-strict-concurrency=complete", "-warnings-as-errors",
        "-I", modules, "-I", stubs, *options, *made, *files, "-o", "/dev/null",
    )  # fmt: skip


# Xcode 15 has no Swift 6 mode; a project that both can open must compile in either.
@pytest.mark.parametrize("mode", [("-swift-version", "6"), ("-swift-version", "5", "-D", "DEBUG")], ids=["6", "5"])
def test_files_for_apples_systems_type_check(stubs, run, swift_project, tmp_path, mode):
    sources = swift_project / "BenchKit/Sources"
    for module in ("BenchCore", "BenchCoreML"):
        check(run, stubs, tmp_path, sources / module, *mode, name=module)
    for folder in (swift_project / "App", swift_project / "Tests", sources / "swiftdeploy-bench"):
        check(run, stubs, tmp_path, folder, *mode)


@pytest.fixture(scope="module")
def core_module(stubs, run, swift_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    check(run, stubs, folder, swift_project / "BenchKit/Sources/BenchCore", "-swift-version", "6", name="BenchCore")
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("CoreMLDevice.swift", "configuration.computeUnits = .all", "configuration.computeUnitz = .all"),
        ("Placement.swift", "@unknown default", "case .npu"),
        ("DeviceState.swift", "@MainActor private func batteryReading", "private func batteryReading"),
    ],
)
def test_the_check_sees_mistakes(stubs, run, swift_project, core_module, tmp_path, file, old, new):
    sources = tmp_path / "BenchCoreML"
    shutil.copytree(swift_project / "BenchKit/Sources/BenchCoreML", sources)
    text = (sources / file).read_text()
    assert old in text
    (sources / file).write_text(text.replace(old, new))
    with pytest.raises(AssertionError, match=r"(error|warning):"):
        check(run, stubs, core_module, sources, "-swift-version", "6")


def test_unit_tests_pass(swift, run, benchkit):
    package, scratch = benchkit
    said = run(swift, "test", "-c", "release", "--skip-build", "--scratch-path", scratch, cwd=package)
    executed = re.findall(r"Executed (\d+) tests, with 0 failures", said)
    assert executed
    written = sum(path.read_text().count("    func test") for path in package.rglob("*Tests.swift"))
    assert int(executed[-1]) == written


def test_both_manifests_name_the_same_targets(swift_project):
    texts = [(swift_project / "BenchKit" / name).read_text() for name in ("Package.swift", "Package@swift-6.0.swift")]
    assert texts[0].startswith("// swift-tools-version: 5.9\n")
    assert texts[1].startswith("// swift-tools-version: 6.0\n")
    assert texts[0].partition("let package")[2] == texts[1].partition("let package")[2]


def test_each_stub_names_its_page():
    for path in STUBS.glob("*.swift"):
        text = path.read_text()
        assert "https://developer.apple.com/" in text, path.name
        declared = len(re.findall(r"^(?:@\S+ )*(?:public|open) .*\b(?:class|struct|enum|protocol|func)\b", text, re.M))
        assert text.count("https://") >= declared / 8, path.name


def test_the_measuring_loop_takes_no_wall_clock(swift_project):
    for path in (swift_project / "BenchKit/Sources").rglob("*.swift"):
        text = path.read_text()
        assert "CFAbsoluteTime" not in text
        assert "Date()" not in text or path.name == "Runner.swift", path.name
