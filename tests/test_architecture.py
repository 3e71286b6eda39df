"""The rooms and layers of docs/architecture.md, held by test."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "swiftdeploy"
LAYERS = {
    **dict.fromkeys(
        ("errors", "precision", "quantization", "recipe", "spec", "report", "runs", "searches", "schema", "seal"), 0
    ),
    **dict.fromkeys(("config", "catalog", "console", "axis"), 0),
    **dict.fromkeys(("mil", "capture", "canonical", "folding", "scheduler", "aside"), 1),
    **dict.fromkeys(("checkpoint", "fuse", "targets", "runtimes", "compress", "placement"), 2),
    **dict.fromkeys(("parity", "bundle", "harness", "evaluation", "reporting"), 3),
    "pipeline": 4,
    **dict.fromkeys(("matrix", "search"), 5),
    "cli": 6,
}
HEAVY = {"torch", "coremltools", "onnx", "onnxruntime", "numpy"}
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "models").rglob("*.py"))]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or "models" in path.parts, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] == "swiftdeploy_models":
            pytest.fail(f"{path} imports the model package; the core resolves it by name")
        if parts[0] == "swiftdeploy" and len(parts) > 1 and parts[1] in LAYERS and parts[1] != room:
            lower = LAYERS[parts[1]] < LAYERS[room]
            values = LAYERS[parts[1]] == LAYERS[room] == 0
            assert lower or values, f"{room} (layer {LAYERS[room]}) imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_knows_typer(path):
    if room_of(path) != "cli":
        assert not any(i.split(".")[0] in {"typer", "click"} for i in imports(path))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_modules_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{path} is too long to read at once"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            size = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_module_is_a_drawer(path):
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_every_package_is_installed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {".".join(p.parent.relative_to(ROOT).parts) for p in PACKAGE.rglob("__init__.py")}
    assert listed == present | {"swiftdeploy_models"}


def test_tests_stay_out_of_the_product():
    for path in SOURCES:
        assert not any(i.split(".")[0] in {"tests", "pytest"} for i in imports(path)), path
