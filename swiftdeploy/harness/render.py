"""From models to a project on disk: staged beside its destination and renamed, so that no half of one is ever seen."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jinja2

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.harness.model import HarnessModel, check_package, golden_bytes
from swiftdeploy.harness.plan import COMPUTE_UNITS, Plan
from swiftdeploy.harness.project import NAME, ProjectFiles, project_text
from swiftdeploy.harness.scheme import scheme_text, workspace_text
from swiftdeploy.spec import to_plain

TEMPLATES = Path(__file__).parent / "templates"

# The app takes SwiftUI's NavigationStack and Core ML's cpuAndNeuralEngine, which came with iOS 16.
OLDEST_IOS = 16

_TEAM = re.compile(r"[A-Z0-9]{10}")


def render(models: Sequence[HarnessModel], destination: Path, *, team: str = "", plan: Plan | None = None) -> Path:
    """Write the Xcode project that measures `models` side by side, and answer with its folder, `destination`.

    `team` is the ten-character id of an Apple developer team, or empty to fill it in later; `plan` is the default plan
    where none is given, and its models are replaced. Same input, same bytes. Raises UsageError for no model, a bad
    team, an unknown compute unit or a destination that exists, ModelError for a missing package or golden data,
    ArtifactError for a changed package or a disk that refuses.
    """
    if not models:
        raise UsageError("there is no model to measure", hint="name at least one bundle with a Core ML artifact")
    if team and not _TEAM.fullmatch(team):
        raise UsageError(f"{team!r} is no Apple team id", hint="it has ten capitals and digits; see Membership details")
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{destination} exists", hint="choose another folder, or remove it first")
    unknown = [unit for unit in (plan or Plan()).compute_units if unit not in COMPUTE_UNITS]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no compute unit", hint=f"choose from {', '.join(COMPUTE_UNITS)}")
    for model in models:
        check_package(model)
    full = dataclasses.replace(plan or Plan(), models=tuple(model.plan() for model in models))
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as staged:
            _write(Path(staged) / NAME, models, full, team)
            (Path(staged) / NAME).rename(destination)
    except OSError as error:
        raise ArtifactError(
            f"{destination} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error
    return destination


def plan_json(plan: Plan) -> str:
    """The text of plan.json."""
    return json.dumps(to_plain(plan), indent=2, sort_keys=True) + "\n"


def _write(root: Path, models: Sequence[HarnessModel], plan: Plan, team: str) -> None:
    # Build folders of whoever developed in the templates are no part of them.
    shutil.copytree(TEMPLATES, root, ignore=shutil.ignore_patterns("*.j2", ".build", ".swiftpm", "report"))
    min_ios = max(OLDEST_IOS, *(model.min_ios for model in models))
    values = {"plan": plan, "team": team, "models": models, "min_ios": min_ios, "name": NAME}
    for source in sorted(TEMPLATES.rglob("*.j2")):
        if "report" not in source.parts:
            target = root / source.relative_to(TEMPLATES).with_suffix("")
            target.write_text(_environment().from_string(source.read_text()).render(values))
    (root / "Models").mkdir()
    (root / "Resources").mkdir()
    (root / "Resources/plan.json").write_text(plan_json(plan))
    for model, line in zip(models, plan.models, strict=True):
        shutil.copytree(model.package, root / f"Models/{line.resource}.mlpackage")
        inputs, outputs = golden_bytes(model)
        (root / "Resources" / line.golden_inputs).write_bytes(inputs)
        (root / "Resources" / line.golden_outputs).write_bytes(outputs)
    _write_project(root, plan, min_ios)


def _write_project(root: Path, plan: Plan, min_ios: int) -> None:
    files = ProjectFiles(
        app=tuple(sorted(f"App/{path.name}" for path in (root / "App").glob("*.swift"))),
        tests=tuple(sorted(f"Tests/{path.name}" for path in (root / "Tests").glob("*.swift"))),
        models=tuple(f"Models/{line.resource}.mlpackage" for line in plan.models),
        resources=tuple(sorted(f"Resources/{path.name}" for path in (root / "Resources").iterdir())),
        min_ios=min_ios,
    )
    bundle = root / f"{NAME}.xcodeproj"
    written = {
        "project.pbxproj": project_text(files),
        f"xcshareddata/xcschemes/{NAME}.xcscheme": scheme_text(),
        "project.xcworkspace/contents.xcworkspacedata": workspace_text(),
    }
    for name, text in written.items():
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  Swift, xcconfig and Markdown; names were checked when the models were made
    )
    environment.filters["identifier"] = lambda text: re.sub(r"\W", "_", text)
    return environment
