"""The half of coremltools' own tests that needs a Mac, answered by the reference runtime instead.

A pytest plugin. It tells the suite's helpers that this is macOS 15, and answers `MLModel.predict` and `make_state` from
the package as it was saved to disk. It changes no test, no tolerance and nothing in the converter. What became of each
case goes to a file, one line of JSON a case, as it happens.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import re
import signal
import tempfile
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from swiftdeploy import mil
from swiftdeploy.errors import SwiftdeployError
from swiftdeploy.mil.model import LoadedProgram
from swiftdeploy.mil.program import walk

MACOS = (15, 5)
"""The first macOS that runs iOS18 packages is 15; a few tests wait for fixes up to 15.2."""
TIME_LIMIT = 240
"""Seconds for one case; the slowest that agrees takes a tenth of it."""

FREEZE_EVERY = 25
"""Cases after which what lives on is hidden from the garbage collector once more."""

_OPTIONAL = ("torchvision", "torchaudio")
_SHORTER = (
    (re.compile(r"compute_unit=ComputeUnit\.CPU_ONLY-?"), ""),
    (re.compile(r"frontend=TorchFrontend\.TORCHSCRIPT-?"), ""),
    (
        re.compile(
            r"BackendConfig\(backend='mlprogram', precision='(\w+)', opset_version=<AvailableTarget.(\w+): \d+>\)"
        ),
        r"\1-\2",
    ),
    (re.compile(r"\('mlprogram', '(\w+)'\)"), r"\1"),
    (re.compile(r"<class 'numpy\.(\w+)'>"), r"\1"),
    (re.compile(r"<AvailableTarget\.(\w+): \d+>"), r"\1"),
    (re.compile(r"\s+"), " "),
)
_REACHED = {"prediction": False, "runtime_error": False}
_OPS: set[str] = set()
_LOADED: weakref.WeakKeyDictionary[Any, LoadedProgram] = weakref.WeakKeyDictionary()


def open_gate() -> None:
    """Patch what keeps coremltools from predicting here. Call before its tests are imported."""
    import coremltools.models.utils as model_utils
    from coremltools import _deps
    from coremltools.converters.mil.mil.program import Program
    from coremltools.models.model import MLModel

    model_utils._is_macos = lambda: True
    model_utils._macos_version = lambda: MACOS
    MLModel.predict = _predict
    MLModel.make_state = _make_state
    # After each of some 80 passes the converter looks for inconsistencies in its own program, which takes a third of a
    # run and changes nothing: a fault of the converter's shows in the numbers, which is what is compared here.
    Program.validate = lambda *_, **__: None
    # Only the suite's helpers read this flag from here on: everything else was imported with the true one.
    _deps._IS_MACOS = True


class Recorder:
    """The plugin: narrows the collection to `keep`, seeds every case by its name, and records what became of it."""

    def __init__(self, path: Path, keep: list[str] | None) -> None:
        """Write to `path`; `keep` lists the cases to run, None all."""
        self._path = path
        self._keep = None if keep is None else set(keep)
        self._started = 0.0
        self._count = 0

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Drop what is not to run."""
        if self._keep is not None:
            chosen = [item for item in items if case_name(item) in self._keep]
            config.hook.pytest_deselected(items=[item for item in items if case_name(item) not in self._keep])
            items[:] = chosen

    def pytest_collection_finish(self) -> None:
        """Hide 40,000 collected cases from the garbage collector, which the converter calls once a conversion."""
        _hide_the_living()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Give each case its own seed, so that its data do not depend on which cases ran before."""
        seed = zlib.crc32(case_name(item).encode())
        np.random.seed(seed)
        torch.manual_seed(seed)
        _REACHED.update(prediction=False, runtime_error=False)
        _OPS.clear()
        self._count += 1
        if self._count % FREEZE_EVERY == 0:  # what the converters and torch loaded meanwhile is here to stay, too
            _hide_the_living()
        self._started = time.monotonic()
        previous = signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(TIME_LIMIT)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Write the line of a case once its outcome is known."""
        report = yield
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self._write(case_name(item), _outcome(report, call), call)
        return report

    def _write(self, name: str, outcome: str, call: pytest.CallInfo[None]) -> None:
        line: dict[str, Any] = {"case": name, "outcome": outcome, "seconds": round(time.monotonic() - self._started, 3)}
        if _OPS:
            line["ops"] = sorted(_OPS)
        if outcome in ("disagreed", "error") and call.excinfo is not None:
            line["evidence"] = _evidence(call.excinfo)
            line["reason"] = f"{call.excinfo.typename}: {call.excinfo.value}"[:2000]
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def _hide_the_living() -> None:
    gc.collect()
    gc.freeze()


def case_name(item: pytest.Item) -> str:
    """A case's name: its module below coremltools' tests, class, function and parameters, without what never varies."""
    module: str = item.module.__name__  # type: ignore[attr-defined]
    for prefix in ("coremltools.converters.mil.", "mil.ops.tests.", "frontend.torch.test."):
        module = module.removeprefix(prefix)
    name = f"{module}::{item.nodeid.partition('::')[2]}"
    for pattern, short in _SHORTER:
        name = pattern.sub(short, name)
    return name


def _evidence(excinfo: pytest.ExceptionInfo[BaseException]) -> dict[str, Any]:
    """What a failed `assert_allclose` compared: its tolerance, the worst error, and what fp16 could have given.

    `half_fits` says whether the expected values themselves, rounded to fp16, stay within the tolerance. Where they do
    not, no output that is declared as fp16 can agree. `half_steps` is the worst error in steps of fp16 at the largest
    expected value: about 1 where something was rounded to fp16 that the reference left alone.
    """
    for entry in reversed(excinfo.traceback):
        if entry.name == "assert_allclose" and {"actual", "desired", "atol", "rtol"} <= set(entry.locals):
            found, expected = (np.asarray(entry.locals[key]) for key in ("actual", "desired"))
            numbers = found.dtype.kind in "fiub" and expected.dtype.kind in "fiub"
            if not numbers or found.shape != expected.shape or not found.size:
                return {}
            tolerance = {key: float(entry.locals[key]) for key in ("atol", "rtol")}
            half = expected.astype(np.float16)
            error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
            step = np.spacing(np.abs(half).max(initial=0)).astype(np.float64)
            return {
                **tolerance,
                "half_steps": round(float(error.max() / step), 3),
                "worst": float(error.max()),
                "half_fits": bool(np.isclose(half, expected, equal_nan=True, **tolerance).all()),
            }
    return {}


def _outcome(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """agreed, disagreed, unreached (passed without a prediction), skipped, or error (failed before any prediction).

    Some cases use torchvision or torchaudio without asking whether they are installed; where they are not, that counts
    as skipped too.
    """
    if report.skipped:
        return "skipped"
    if report.passed:
        return "agreed" if _REACHED["prediction"] else "unreached"
    if _REACHED["prediction"] or _REACHED["runtime_error"]:
        return "disagreed"
    error = call.excinfo.value if call.excinfo else None
    absent = isinstance(error, NameError) and error.name in _OPTIONAL and importlib.util.find_spec(error.name) is None
    return "skipped" if absent else "error"


def _too_long(*_: int | FrameType | None) -> None:
    raise TimeoutError(f"the case took more than {TIME_LIMIT} s")


def _predict(self: Any, data: Any, state: Any = None) -> Any:
    if not self.is_package:
        pytest.skip("not an ML Program: the reference runtime answers for nothing else")
    _REACHED["prediction"] = True
    self._check_predict_data(data)
    if isinstance(data, list):
        return [_predict(self, one, state) for one in data]
    self._verify_input_dict(data)
    self._convert_tensor_to_numpy(data)
    return _as_core_ml(lambda: _program(self).predict(data, None if state is None else state.__proxy__))


def _make_state(self: Any) -> Any:
    from coremltools.models.model import MLState

    return MLState(_as_core_ml(lambda: _program(self).make_state()))


def _as_core_ml(answer: Any) -> Any:
    """What `answer` gives, with this runtime's errors as the RuntimeError that coremltools raises from Core ML's."""
    try:
        return answer()
    except SwiftdeployError as error:
        _REACHED["runtime_error"] = True
        raise RuntimeError(f"Unable to compute the prediction using ML Program. {error} ({error.hint})") from error


def _program(model: Any) -> LoadedProgram:
    """The model, saved and read back: the package on disk is what counts, not the program in memory."""
    if model not in _LOADED:
        with tempfile.TemporaryDirectory(prefix="coremltools-suite-") as folder:
            path = Path(folder) / "model.mlpackage"
            model.save(str(path))
            _LOADED[model] = mil.load_program(path, model.function_name)
    program = _LOADED[model]
    _OPS.update(operation.type for operation in walk(program.function.block) if operation.type != "const")
    return program
