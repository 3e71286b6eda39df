"""`swiftdeploy doctor`: whether this machine has what the stages need."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass

from rich.table import Table

from swiftdeploy import __version__, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import DependencyError

TESTED = {"torch": "2.13", "coremltools": "9.0", "onnx": "1.23", "onnxruntime": "1.32", "numpy": "2.3"}
OPTIONAL = {
    "huggingface_hub": "hf-hub: checkpoints",
    "timm": "--model timm:NAME",
    "scikit-learn": "pal8 to pal2, and search",
    "matplotlib": "search's plots",
    "transformers": "tests against Hugging Face's code",
}
NUMPY_LIMIT = (2, 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at. `state` is ok, note or missing; only missing ones fail."""

    name: str
    state: str
    detail: str


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False, no_color: NoColor = False) -> None:
    """Check what this machine has, and what it lacks.

    Example: swiftdeploy doctor
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    findings = [*_required(), *_optional(), *_platform()]
    missing = [f.name for f in findings if f.state == "missing"]
    if json and not missing:
        output.document({"swiftdeploy": __version__, "findings": findings})
    elif not json:
        _show(findings)
    if missing:
        raise DependencyError(f"missing: {', '.join(missing)}", hint="install the project again with its constraints")


def _required() -> list[Finding]:
    found = []
    for name, tested in TESTED.items():
        version = _version(name)
        if version is None:
            found.append(Finding(name=name, state="missing", detail="not installed"))
            continue
        if name == "numpy" and tuple(int(part) for part in version.split(".")[:2]) >= NUMPY_LIMIT:
            found.append(
                Finding(name=name, state="missing", detail=f"{version}, but coremltools 9.0 needs numpy < 2.4")
            )
            continue
        same = version == tested or version.startswith(f"{tested}.")
        detail = version if same else f"{version}, tested with {tested}"
        found.append(Finding(name=name, state="ok" if same else "note", detail=detail))
    return found


def _optional() -> list[Finding]:
    found = []
    for name, use in OPTIONAL.items():
        version = _version(name)
        detail = f"{version}, for {use}" if version else f"not installed; needed for {use}"
        found.append(Finding(name=name, state="ok" if version else "note", detail=detail))
    return found


def _platform() -> list[Finding]:
    system, release = platform.system(), platform.python_version()
    mac = system == "Darwin"
    return [
        Finding(name="python", state="ok", detail=f"{release} on {system}"),
        Finding(
            name="Core ML numerics",
            state="ok",
            detail="reference runtime (models typed execution, not the Neural Engine's accumulation)",
        ),
        Finding(
            name="Xcode",
            state="ok" if shutil.which("xcodebuild") else "note",
            detail="found" if shutil.which("xcodebuild") else "not here; only building for a phone needs it",
        ),
        Finding(name="platform", state="ok", detail="macOS" if mac else "no Mac needed: export and verify run here"),
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _show(findings: list[Finding]) -> None:
    marks = {"ok": "[green]✓[/green]", "note": "[yellow]·[/yellow]", "missing": "[red]✗[/red]"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(marks[finding.state], finding.name, console.plain(finding.detail))
    console.stdout().print(table)
