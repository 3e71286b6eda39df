import inspect
import pickle

import pytest

from swiftdeploy import errors
from swiftdeploy.checkpoint.keys import KeyMismatchError
from swiftdeploy.report import KeyReport

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.SwiftdeployError)]
EXPECTED = {
    "UsageError": 2,
    "ConfigError": 3,
    "CheckpointError": 4,
    "ModelError": 4,
    "ConversionError": 5,
    "ParityError": 6,
    "BudgetError": 6,
    "ArtifactError": 7,
    "DependencyError": 8,
}


def test_the_exit_codes_are_the_contract():
    found = {c.__name__: c.exit_code for c in CLASSES if c is not errors.SwiftdeployError}
    assert found == EXPECTED
    assert set(found.values()) <= set(errors.EXIT_CODES)
    assert sorted(errors.EXIT_CODES) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_one_line_of_fact_and_one_of_hint(kind):
    error = kind("a fact\n  of  several\tlines ", hint=" do\nthis ")
    assert (str(error), error.fact, error.hint) == ("a fact of several lines", "a fact of several lines", "do this")
    with pytest.raises(TypeError):
        kind("without a hint")


def test_the_tree_is_drawn_in_the_docstring():
    for name, code in EXPECTED.items():
        assert any(line.split()[1:3] == [name, str(code)] for line in errors.__doc__.splitlines()), name


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_errors_cross_processes_whole(kind):
    error = pickle.loads(pickle.dumps(kind("a fact", hint="a hint")))
    assert (type(error), error.fact, error.hint) == (kind, "a fact", "a hint")


def test_an_error_with_more_to_say_crosses_too():
    report = KeyReport(loaded=1, missing=("x",))
    error = pickle.loads(pickle.dumps(KeyMismatchError("a fact", hint="a hint", keys=report)))
    assert (error.fact, error.hint, error.keys) == ("a fact", "a hint", report)


def test_a_library_that_does_not_import_is_a_dependency_and_other_failures_are_themselves():
    with pytest.raises(errors.DependencyError) as caught, errors.importing("plots need it", hint="install it"):
        import no_such_library  # noqa: F401
    assert (caught.value.fact, caught.value.hint) == ("plots need it: No module named 'no_such_library'", "install it")
    with pytest.raises(ZeroDivisionError), errors.importing("plots need it", hint="install it"):
        1 / 0  # noqa: B018


def test_what_the_system_refuses_is_no_bug_and_what_is_not_there_may_be_one(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in ((tmp_path / ("x" * 300), "File name too long"), (tmp_path / "loop", "Too many levels")):
        with pytest.raises(OSError, match=reason) as caught:
            path.read_bytes()
        found = errors.refused_by_system(caught.value)
        assert found.fact.startswith(f"{path}: {reason}")
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "nothing").read_bytes()
    assert errors.refused_by_system(caught.value) is None
    assert errors.refused_by_system(PermissionError(13, "of no file")) is None
    assert errors.refused_by_system(KeyError("a bug")) is None
