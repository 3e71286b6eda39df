"""A run as a team would see it: four models, of which one cannot be loaded, one got worse, one came from the cache."""

import dataclasses

import pytest

from swiftdeploy import report as values
from swiftdeploy import runs
from swiftdeploy.spec import ExportOptions, TensorSpec, to_plain

HOSTILE = (
    'a|b <img src="https://evil.example/x.png" onerror=alert(1)> `*_[x](javascript:1)`\x00\x1b[31m\n::error::no\u202e'
)
OPTIONS = ExportOptions(targets=("coreml", "onnx"), precisions=("fp16", "fp32"))
PHONE = "iPhone14,7, iOS 18.1 (22B83)"
TRANSPOSE = "a transpose that moves the last axis: memory is copied"


def leg(name, decibels, verdict="pass", **changes):
    output = values.OutputParity(
        name="classLabel_probs",
        psnr_db=decibels,
        relative_l2=0.0 if decibels is None else 10 ** (-decibels / 20),
        cosine=1.0,
        max_abs=0.0 if decibels is None else 0.004,
        samples=16,
        verdict=verdict,
        top1=1.0,
        top5=1.0,
    )
    return values.Leg(name=name, verdict=verdict, outputs=(output,), **changes)


def artifact(name, target, precision, size, decibels, verdict="pass"):
    weights = values.Leg(name="weights", verdict="pass", weights=values.WeightParity(tensors=214, equal=214))
    suffix = "mlpackage" if target == "coreml" else "onnx"
    path = f"{name}-{precision}.{suffix}"
    legs = (leg("outputs", decibels, verdict), leg("stress", None if decibels is None else decibels - 3.5), weights)
    gate = 60.0 if precision == "fp16" else 100.0
    return runs.ArtifactSummary(
        path=path,
        target=target,
        precision=precision,
        bytes=size,
        sha256="9f" * 32,
        ops={"conv": 61, "add": 22, "gelu": 18, "matmul": 3, "transpose": 6},
        parity=values.ParityReport(subject=path, precision=precision, gate_db=gate, legs=legs),
    )


def placement(name):
    hits = tuple(values.Hit(op=f"transpose_{i}", type="transpose", reason="axes 0 2 3 1") for i in range(6))
    findings = (
        values.Finding(
            rule="ane-dynamic-shape", severity="error", says="a flexible input keeps the whole package away",
            origin="Apple", source="https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html",
            confidence="high", remedy="give every input one fixed shape",
            hits=(values.Hit(op="", type="input", reason="batch 1 to 8"),),
        ),
        values.Finding(
            rule="ane-transpose", severity="warning", says=TRANSPOSE, origin="Apple",
            source="machinelearning.apple.com, Deploying Transformers on the Apple Neural Engine", confidence="medium",
            remedy="keep the channels in one place; write products of matrices as einsum bchq,bkhc->bkhq", hits=hits,
        ),
        values.Finding(
            rule="ane-layout-copy", severity="note", says="a reshape that leaves the last axis where it is",
            origin="community", source="hollance/neural-engine", confidence="low", remedy="leave it out",
            hits=(values.Hit(op="reshape_3", type="reshape", reason="1 x 48 x 56 x 56"),),
        ),
    )  # fmt: skip
    lengths = (("eligible", 74), ("risky", 3), ("eligible", 31), ("risky", 2), ("ineligible", 1), ("eligible", 22))
    record = values.PlacementRecord(
        artifact=f"{name}-fp16.mlpackage",
        neural_engine=values.EnginePrediction(
            verdict="ineligible",
            ops={"eligible": 127, "risky": 5, "ineligible": 1},
            severities={"error": 1, "warning": 6, "note": 1},
            layout_ops=9,
            fp16_share=0.98,
            findings=findings,
            segments=tuple(
                values.Segment(verdict=verdict, first=f"op_{i}", last=f"op_{i}_end", ops=ops)
                for i, (verdict, ops) in enumerate(lengths)
            ),
            switches=5,
        ),
        providers=(),
        cost=values.Cost(macs=10**9, weight_bytes=7 * 10**6, activation_bytes=10**7, intensity=58.8),
    )
    return to_plain(record)


def summary(name, parameters, top1, *, growth=1.0, verdict="pass"):
    full = int(parameters * 4 * growth)
    artifacts = (
        artifact(name, "coreml", "fp16", full // 2 + 91_000, 71.2, verdict),
        artifact(name, "coreml", "fp32", full + 90_000, None),
        artifact(name, "onnx", "fp16", full // 2 + 140_000, 70.4),
        artifact(name, "onnx", "fp32", full + 131_000, 131.9),
    )
    drift = {"coreml-fp16": 0.0004, "coreml-fp32": 0.0, "onnx-fp16": 0.0006, "onnx-fp32": 0.0}
    accuracy = [runs.Accuracy(artifact="", images=5000, top1=top1, top5=0.927)]
    for made in artifacts:
        right = top1 - drift[f"{made.target}-{made.precision}"]
        accuracy.append(runs.Accuracy(artifact=made.path, images=5000, top1=right, top5=0.9265))
    return runs.BundleSummary(
        tool={"swiftdeploy": "0.1.0"},
        model=name,
        family="swiftformer",
        attention="token_l2",
        parameters=parameters,
        provenance=values.Provenance(weights="trained", source=f"{name}.pth", sha256="5c" * 32, format="pickle"),
        input_kind="tensor",
        inputs=(TensorSpec(name="image", shape=(1, 3, 224, 224), dtype="float32"),),
        outputs=(TensorSpec(name="logits", shape=(1, 1000), dtype="float32"),),
        bytes=sum(made.bytes for made in artifacts) + 650_000,
        tree_sha256="ab" * 32,
        seal="cd" * 32,
        ops_before={"conv2d": 75, "batch_norm": 52, "add": 31, "gelu": 18, "permute": 14, "linear": 12, "mul": 21},
        ops_after={"conv2d": 75, "batch_norm": 0, "add": 22, "gelu": 18, "permute": 6, "linear": 12, "mul": 9},
        fusion=(values.RewriteRecord(name="fold_batch_norm", algebra="w' = w g / s", fired=("stem.1",)),),
        fusion_parity=values.ParityReport(
            subject="fused", precision="fp32", gate_db=100.0, legs=(leg("fusion", 138.1),)
        ),
        artifacts=artifacts,
        placement=(placement(name),),
        latency=(
            runs.Latency(
                artifact=artifacts[0].path,
                device=PHONE,
                unit="all",
                median_ms=0.71 * growth,
                p95_ms=0.83,
                launch_id="7d1",
            ),
            runs.Latency(
                artifact=artifacts[0].path, device=PHONE, unit="cpuOnly", median_ms=3.9, p95_ms=4.4, launch_id="7d1"
            ),
        ),
        accuracy=tuple(accuracy),
    )


def parity(subject, one, gate):
    value = one.weights.equal if one.weights else one.outputs[0].psnr_db
    return runs.Check(
        name=f"parity.{one.name}",
        subject=subject,
        verdict=one.verdict,
        message="within the gate",
        value=value,
        limit=None if one.weights else gate,
        unit="tensors" if one.weights else "dB",
    )


def checks(found, *extra):
    start = (
        runs.Check(name="export", subject="", verdict="pass", message="the bundle was written"),
        runs.Check(name="integrity", subject="", verdict="pass", message="14 files are as the manifest records"),
        parity("", found.fusion_parity.legs[0], 100.0),
    )
    legs = [parity(made.path, one, made.parity.gate_db) for made in found.artifacts for one in made.parity.legs]
    golden = [parity(made.path, leg("golden", None), made.parity.gate_db) for made in found.artifacts]
    return (*start, *legs, *golden, *extra)


def passed(name, found, **changes):
    job = runs.JobReport(
        name=name,
        model=name,
        checkpoint=f"checkpoints/{name}.pth",
        options=to_plain(OPTIONS),
        artifacts=tuple(made.path for made in found.artifacts),
        status="passed",
        exit_code=0,
        cache=runs.CacheOutcome(state="miss", reason="the checkpoint changed", key="e3" * 32),
        bundle=f"dist/{name}",
        summary=found,
        checks=checks(found),
        seconds={"load": 0.4, "capture": 3.1, "convert": 9.7, "verify": 5.2},
        peak_memory_bytes=1_890_000_000,
    )
    return dataclasses.replace(job, **changes)


def failed(name="mobilevitv2_050", fact=f"checkpoints/mobilevit.pth has 3 unexpected keys: {HOSTILE}"):
    wanted = tuple(f"{name}-{precision}.{suffix}" for suffix in ("mlpackage", "onnx") for precision in ("fp16", "fp32"))
    export = runs.Check(name="export", subject="", verdict="fail", message=fact, exit_code=4)
    missing = (runs.Check(name="parity", subject=w, verdict="skip", message="there is no bundle") for w in wanted)
    return runs.JobReport(
        name=name,
        model=name,
        checkpoint="checkpoints/mobilevit.pth",
        options=to_plain(OPTIONS),
        artifacts=wanted,
        status="failed",
        exit_code=4,
        cache=runs.CacheOutcome(state="miss", reason="it was never exported"),
        failure=runs.Failure(
            stage="load", kind="CheckpointError", fact=fact, hint="name the model that it was trained as", exit_code=4
        ),
        checks=(export, *missing),
        seconds={"load": 0.2},
    )


def assemble(*jobs, exit_code=0, baseline=""):
    def states(*wanted):
        return sum(job.status in wanted for job in jobs)

    return runs.RunReport(
        schema=1,
        tool={"swiftdeploy": "0.1.0", "coremltools": "9.0", "torch": "2.13.0", "onnx": "1.23.2", "python": "3.11.2"},
        config="swiftdeploy.toml",
        executor="local",
        baseline=baseline,
        jobs=jobs,
        totals=runs.Totals(
            jobs=len(jobs),
            passed=states("passed"),
            cached=states("cached"),
            failed=states("failed"),
            skipped=states("skipped"),
            checks=runs.count(check.verdict for job in jobs for check in job.checks),
            seconds=61.5,
            peak_memory_bytes=1_890_000_000,
            exit_code=exit_code,
        ),
    )


@pytest.fixture(scope="session")
def green():
    """A run without a problem."""
    return assemble(passed("swiftformer_xs", summary("swiftformer_xs", 3_475_360, 0.757)))


@pytest.fixture(scope="session")
def red():
    """A run with everything: a failed job, a failed budget, a warning, findings, latency, accuracy, a baseline."""
    xs, s, l1 = (
        summary("swiftformer_xs", 3_475_360, 0.757, verdict="warn"),
        summary("swiftformer_s", 6_092_128, 0.771, growth=1.08),
        summary("swiftformer_l1", 12_057_920, 0.809),
    )
    budget = runs.Check(
        name="budget.size", subject=s.artifacts[0].path, verdict="fail", exit_code=6, unit="bytes",
        message="13.250 MB, at most 1.02 times the baseline's 12.275 MB", value=13_250_000, limit=12_520_500,
    )  # fmt: skip
    loss = dataclasses.replace(
        budget, name="budget.top1", message="77.06 %, at least 78.00 %", value=0.7706, limit=0.78, unit="share"
    )
    skipped = dataclasses.replace(
        failed("swiftformer_l3"), status="skipped", failure=None, checks=(), exit_code=0, seconds={}
    )
    return assemble(
        passed("swiftformer_xs", xs, baseline=summary("swiftformer_xs", 3_475_360, 0.757)),
        passed(
            "swiftformer_s", s, checks=checks(s, budget, loss), status="failed", exit_code=6,
            baseline=summary("swiftformer_s", 6_092_128, 0.785),
        ),
        passed("swiftformer_l1", l1, status="cached", cache=runs.CacheOutcome(state="hit", reason="", key="aa" * 32)),
        failed(),
        skipped,
        exit_code=6,
        baseline="releases/2026.10/run.json",
    )  # fmt: skip


@pytest.fixture(scope="session")
def empty():
    """A run of nothing."""
    return assemble()


@pytest.fixture(scope="session")
def hostile():
    """A run in which every name that comes from outside is an attack."""
    found = summary(HOSTILE, 10_000, 0.5)
    bad = runs.Check(
        name=f"budget.{HOSTILE}", subject=found.artifacts[0].path, verdict="fail", message=HOSTILE, exit_code=6
    )
    job = passed(HOSTILE, found, checks=checks(found, bad), status="failed", exit_code=6, baseline=found)
    return dataclasses.replace(assemble(job, failed(f"2 {HOSTILE}"), exit_code=6), config=HOSTILE, baseline=HOSTILE)
