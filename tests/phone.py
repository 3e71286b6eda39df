"""Results of a phone that is not there, made without reading a file: a plan, latencies that are known, and a seal."""

import dataclasses
import itertools
import json
from pathlib import Path

from swiftdeploy.harness import measurement as values
from swiftdeploy.harness.host import HostRunner, measure_here
from swiftdeploy.harness.recompute import spoiling_facts
from swiftdeploy.harness.results import sealed
from swiftdeploy.pipeline.harness import models_of

PHONE = values.DeviceFacts(
    kind="phone", model="iPhone14,7", system="iOS", os_version="16.0", os_build="20A362", processors=6, memory_bytes=6
)
MICROSECOND = 1000


def parity(model):
    """Differences of 1e-6 on values of 1: 120 dB, above every gate."""
    sample = values.SampleParity(max_abs_reference=1.0, squared_error=1e-11, max_abs=1e-6, non_finite=0, top1=True)
    return tuple(
        values.DeviceParity(output=o.name, count=10, psnr_db=120.0, verdict="pass", samples=(sample,))
        for o in model.outputs
    )


def run(plan, latencies=None, **facts):
    """A measurement of `plan` on a clock that only predictions move: (label, unit) -> microseconds, 700 where not said.

    Every third prediction takes a hundredth more, so that intervals have a width.
    """
    state = {"ns": 0, "spread": itertools.cycle((100, 100, 101))}

    def predictor(model, unit):
        def predict():
            state["ns"] += (latencies or {}).get((model.label, unit), 700) * MICROSECOND * next(state["spread"]) // 100

        return predict

    runners = {
        (model.label, unit): HostRunner(predict=predictor(model, unit), parity=parity(model), load_ns=10**6)
        for model, unit in plan.pairs
    }
    made = measure_here(plan, runners, clock=lambda: state["ns"], sleep=lambda seconds: None)
    made = dataclasses.replace(made, device=PHONE, created_at="2026-01-02T03:04:05Z", **facts)
    return dataclasses.replace(made, invalid=spoiling_facts(made))


def plan_of(*bundles, **changes):
    """The plan of a small run over the bundles' Core ML artifacts."""
    from swiftdeploy.harness.plan import Plan

    small = {"rounds": 5, "predictions_per_round": 6, "compute_units": ("all", "cpuOnly"), **changes}
    return Plan(**small, models=tuple(model.plan() for model in models_of(bundles)))


def write(measurement, path: Path) -> Path:
    """A sealed result file."""
    path.write_bytes(sealed(measurement))
    return path


def reseal(path: Path, change) -> Path:
    """The file with `change` applied to its JSON object and a seal that fits, as somebody would who knows how."""
    import hashlib

    plain = json.loads(path.read_text())
    change(plain)
    plain["seal"] = "0" * 64
    data = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(data.replace(b'"seal":"' + b"0" * 64, b'"seal":"' + hashlib.sha256(data).hexdigest().encode()))
    return path
