"""What findings make of a program: verdicts, segments, counts; and every SwiftFormer."""

import warnings

import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.placement.judge import judge, place, predict
from swiftdeploy.placement.rule import Rule, each_op
from swiftdeploy.placement.scope import read_scope
from swiftdeploy.report import Hit, Segment


def rule(id, severity, check):
    return Rule(
        id=id, severity=severity, says="", origin="community", source="", confidence="low", remedy="", check=check
    )


@pytest.fixture
def island(save):
    """fp16, two squares, then float32 and back: eligible, risky, ineligible, eligible."""

    def graph(mb, a):
        x = mb.square(x=mb.square(x=mb.relu(x=a), name="one"), name="two")
        wide = mb.cast(x=mb.relu(x=mb.cast(x=x, dtype="fp32", name="up"), name="wide"), dtype="fp16", name="down")
        return mb.relu(x=mb.abs(x=wide, name="abs"), name="last")

    return save(graph, [np.ones((1, 64), np.float16)], ios=16)


def test_segments_and_switches(island):
    found, _ = place(island)
    engine = found.neural_engine
    assert [(part.verdict, part.ops) for part in engine.segments] == [
        ("eligible", 1),
        ("risky", 2),
        ("ineligible", 3),
        ("eligible", 2),
    ]
    assert engine.segments[2] == Segment(verdict="ineligible", first="up", last="down", ops=3)
    assert engine.switches == 3
    assert engine.verdict == "ineligible"
    assert engine.ops == {"eligible": 3, "risky": 2, "ineligible": 3}
    assert engine.severities == {"note": 1, "warning": 2, "error": 3}
    assert engine.fp16_share == 0.75
    assert engine.layout_ops == 0
    assert found.artifact == island.name
    assert found.providers == ()


def test_errors_come_first(island):
    severities = [finding.severity for finding in judge(read_scope(island))]
    assert severities == ["error", "warning", "note"]


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [((), "eligible"), (("note",), "eligible"), (("note", "warning"), "risky"), (("warning", "error"), "ineligible")],
)
def test_the_worst_decides(save, monkeypatch, severities, verdict):
    from swiftdeploy.placement import judge as module

    rules = [rule(str(index), severity, each_op(lambda *_: "why")) for index, severity in enumerate(severities)]
    scope = read_scope(save(lambda mb, a: mb.relu(x=a), [np.ones((1, 64), np.float16)], ios=16))
    monkeypatch.setattr(module.judge, "__defaults__", (rules,))
    engine = predict(scope)
    assert engine.verdict == verdict
    assert {part.verdict for part in engine.segments} == {verdict}


def test_what_is_wrong_with_the_package_is_wrong_with_no_op(save, monkeypatch):
    from swiftdeploy.placement import judge as module

    whole = rule("whole", "error", lambda scope: [Hit(op="", type="package", reason="large")])
    monkeypatch.setattr(module.judge, "__defaults__", ([whole],))
    engine = predict(read_scope(save(lambda mb, a: mb.relu(x=a), [np.ones((1, 64), np.float16)], ios=16)))
    assert engine.verdict == "ineligible"
    assert engine.ops == {"eligible": 1, "risky": 0, "ineligible": 0}


def test_a_damaged_package(save):
    path = save(lambda mb, a: mb.relu(x=a), [np.ones((1, 64), np.float16)], ios=16)
    next(path.rglob("*.mlmodel")).write_bytes(b"nonsense")
    with pytest.raises(ArtifactError):
        place(path)


@pytest.mark.parametrize(
    ("variant", "attention", "size"),
    [("xs", "token_l2", 224), ("xs", "sum", 224), ("l1", "sum", 32)],  # S goes all the way in tests/pipeline
)
def test_a_fused_swiftformer_has_no_ineligible_op(written, variant, attention, size):
    path = written("coreml", "fp16", of=(f"swiftformer_{variant}", size, ("attention", attention)))
    engine = place(path)[0].neural_engine
    assert engine.ops["ineligible"] == 0
    assert engine.severities["error"] == 0
    assert engine.layout_ops == 0
    assert engine.fp16_share == 1.0
    # What is risky is known by name: squares of the norm, the head, and its scores.
    warned = {finding.rule for finding in engine.findings if finding.severity == "warning"}
    assert warned == {"ane-fp16-square", "ane-linear"}


def test_what_fusing_is_for(network, ct, tmp_path):
    """The network as PyTorch has it tiles, reshapes and transposes, and the rules say so."""
    import torch

    found = network("tiny", 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = ct.convert(
            torch.jit.trace(found.module, found.images[:1]),
            inputs=[ct.TensorType(name="image", shape=found.images[:1].shape)],
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        )
    package.save(str(tmp_path / "eager.mlpackage"))
    engine = place(tmp_path / "eager.mlpackage")[0].neural_engine
    warned = {finding.rule for finding in engine.findings if finding.severity == "warning"}
    assert {"ane-broadcast-copy", "ane-reshape", "ane-transpose"} <= warned
    assert engine.layout_ops > 0


def test_float32_is_ineligible_from_end_to_end(written):
    engine = place(written("coreml", "fp32"))[0].neural_engine
    assert engine.verdict == "ineligible"
    assert engine.ops["eligible"] == engine.ops["risky"] == 0
