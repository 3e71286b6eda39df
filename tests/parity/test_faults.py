"""Each way in which an export can be silently wrong, and the leg of parity that finds it.

The faults are put in at the seams between the stages, so that everything after them is what a user gets.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from swiftdeploy_models import swiftformer

from swiftdeploy.errors import CheckpointError, ParityError
from swiftdeploy.fuse.graph import CLAMP_MIN, DIV, calls
from swiftdeploy.pipeline import export as exporting
from swiftdeploy.pipeline import parity, program
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import load_subject, prepare
from swiftdeploy.runtimes import open_artifact
from swiftdeploy.spec import ExportOptions

DIGITS = Path(__file__).parent.parent.parent / "examples" / "digits" / "swiftformer_digits.pth"
LAYER = "network_2_0_pwconv1_weight"  # one of many, in the middle


def request(destination, *, target="onnx", precision="fp16", **changed):
    given = {"checkpoint": str(DIGITS), "attention": "token_l2", **changed}
    options = ExportOptions(targets=(target,), precisions=(precision,))
    return ExportRequest(model="swiftformer_digits", destination=destination, options=options, **given)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return load_subject(request(tmp_path_factory.mktemp("unused") / "bundle"))


@pytest.fixture(scope="module")
def pair(subject):
    return prepare(subject)


@pytest.fixture(scope="module")
def healthy(subject, pair, tmp_path_factory):
    """(path, its stress twin) for each target and precision, as the exporter writes them."""
    known = {}

    def healthy(target, precision):
        if (target, precision) not in known:
            paths = []
            for built in (pair.real.built, pair.stress.built):
                folder = tmp_path_factory.mktemp("healthy")
                paths.append(exporting.convert(subject, built, folder, "m", target, precision)[0])
            known[target, precision] = tuple(paths)
        return known[target, precision]

    return healthy


def legs(pair, path, twin, precision):
    report = parity.artifact_report(path, pair.real, twin, pair.stress, precision=precision, subject="m")
    return {leg.name: leg for leg in report.legs}


def copied(path, folder):
    target = folder / path.name
    shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    return target


def rescale(path, values, factor=1.01):
    """Multiply one weight tensor of a written file, found by its values, by `factor`."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            stored = numpy_helper.to_array(tensor)
            if stored.shape == values.shape and np.array_equal(stored, values.astype(stored.dtype)):
                tensor.CopyFrom(numpy_helper.from_array((stored * factor).astype(stored.dtype), tensor.name))
        path.write_bytes(model.SerializeToString())
        return
    file = next(path.rglob("weight.bin"))
    data = file.read_bytes()
    (dtype,) = [d for d in (np.float16, np.float32) if data.count(values.astype(d).tobytes()) == 1]
    file.write_bytes(
        data.replace(values.astype(dtype).tobytes(), (values.astype(dtype) * factor).astype(dtype).tobytes())
    )


@pytest.mark.parametrize("target", ["onnx", "coreml"])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_healthy_artifact_passes_every_leg(pair, healthy, target, precision):
    """Otherwise none of the failures below would mean anything."""
    found = legs(pair, *healthy(target, precision), precision)
    assert {name: leg.verdict for name, leg in found.items()} == dict.fromkeys(("outputs", "stress", "weights"), "pass")
    assert found["weights"].weights.tensors == found["weights"].weights.equal > 50


@pytest.mark.parametrize("target", ["onnx", "coreml"])
def test_one_percent_in_one_tensor_fails_the_weights(pair, healthy, tmp_path, target):
    path, twin = healthy(target, "fp16")
    wrong = copied(path, tmp_path)
    rescale(wrong, pair.real.built.constants[LAYER])
    found = legs(pair, wrong, twin, "fp16")
    assert found["weights"].verdict == "fail"
    (problem,) = found["weights"].weights.problems
    assert problem.startswith(f"{LAYER}: stored values differ by")
    # The outputs hardly notice: this is what the third leg is for.
    assert found["outputs"].verdict != "fail"


@pytest.mark.parametrize("target", ["onnx", "coreml"])
def test_an_export_with_one_percent_in_one_tensor_writes_nothing(pair, tmp_path, monkeypatch, target):
    convert = exporting.convert

    def careless(subject, built, folder, *rest):
        paths = convert(subject, built, folder, *rest)
        if folder.name != ".stress":
            rescale(paths[0], built.constants[LAYER])
        return paths

    monkeypatch.setattr(exporting, "convert", careless)
    with pytest.raises(ParityError, match=f"fails leg 'weights': {LAYER}") as caught:
        exporting.export(request(tmp_path / "bundle", target=target))
    assert caught.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["onnx", "coreml"])
def test_nothing_diverges_in_a_healthy_artifact(pair, healthy, target):
    path, _ = healthy(target, "fp16")
    assert parity._locate(open_artifact(path), pair.real, (), "fp16") == ""


def test_nothing_diverges_in_a_healthy_artifact_that_takes_pixels(tmp_path):
    """Its first op casts the image, which is a value of the graph too."""
    given = request(tmp_path / "bundle", target="coreml")
    pixels = replace(given, options=replace(given.options, input_kind="image", verify=False))
    subject = load_subject(pixels)
    found = prepare(subject)
    path = exporting.convert(subject, found.real.built, tmp_path, "m", "coreml", "fp16")[0]
    assert parity._locate(open_artifact(path), found.real, (), "fp16") == ""


def swap(graph):
    """Let two layers of one shape read each other's weights."""
    constants = {n.target: n for n in graph.graph.nodes if n.op == "get_attr"}
    first, second = (constants[f"network_2_1_local_representation_pwconv{i}_weight"] for i in (1, 2))
    assert first.meta["val"].shape == second.meta["val"].shape
    first.target, second.target = second.target, first.target
    graph.recompile()


def unnormalise(graph):
    """Drop the query's norm in the second stage's attention: the division by it becomes a division by its guard."""
    quotient = next(n for n in list(calls(graph, DIV)) if getattr(n.args[1], "target", None) is CLAMP_MIN)
    quotient.replace_all_uses_with(quotient.args[0])
    graph.graph.erase_node(quotient)
    graph.graph.eliminate_dead_code()
    graph.recompile()


@pytest.fixture
def spoil(monkeypatch):
    """spoil(change) lets `change(graph)` loose on every fused graph before it is frozen for the converters."""

    def spoil(change):
        freeze = program.freeze

        def careless(module, *rest, **options):
            if isinstance(module, torch.fx.GraphModule):
                wrong = torch.fx.Graph()
                wrong.output(wrong.graph_copy(module.graph, val_map={}))
                for old, new in zip(module.graph.nodes, wrong.nodes, strict=True):
                    new.meta.update(old.meta)
                module = torch.fx.GraphModule(module, wrong)
                change(module)
            return freeze(module, *rest, **options)

        monkeypatch.setattr(program, "freeze", careless)

    return spoil


FAULTS = {"two layers swapped": swap, "a missing normalisation": unnormalise}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_program_fails_its_outputs_and_its_stress(subject, spoil, tmp_path, fault):
    spoil(FAULTS[fault])
    wrong = prepare(subject)
    twin_folder = tmp_path / "twin"
    twin_folder.mkdir()
    path = exporting.convert(subject, wrong.real.built, tmp_path, "m", "onnx", "fp16")[0]
    twin = exporting.convert(subject, wrong.stress.built, twin_folder, "m", "onnx", "fp16")[0]
    found = legs(wrong, path, twin, "fp16")
    assert found["stress"].verdict == "fail"
    assert found["outputs"].verdict == "fail"
    # The graph that was checked is right, the file is not: the report says from which op on.
    assert "first at " in found["outputs"].divergence
    assert "in network." in found["outputs"].divergence
    # Every tensor is there, under its name: only running the file can tell.
    assert found["weights"].verdict == "pass"


@pytest.mark.parametrize("fault", FAULTS)
def test_an_export_of_a_wrong_program_writes_nothing(spoil, tmp_path, fault):
    spoil(FAULTS[fault])
    with pytest.raises(ParityError, match=r"fails leg 'outputs': logits: .*; first at "):
        exporting.export(request(tmp_path / "bundle"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_rewrite_is_caught_before_anything_is_converted(monkeypatch, tmp_path, fault):
    fuse = program.fuse

    def careless(graph, images):
        result = fuse(graph, images)
        FAULTS[fault](result.graph)
        return result

    monkeypatch.setattr(program, "fuse", careless)
    monkeypatch.setattr(exporting, "convert", lambda *_: pytest.fail("converted"))
    with pytest.raises(ParityError, match="the fused graph fails leg 'fusion'"):
        exporting.export(request(tmp_path / "bundle"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Weights as initialised, under `token_l2`, and the artifacts of a graph that computes `sum` instead."""
    given = request(tmp_path_factory.mktemp("unused") / "bundle", checkpoint=None, untrained=0)
    subject = load_subject(given)
    right = prepare(subject)
    attentions = [part for part in subject.oracle.modules() if isinstance(part, swiftformer.EfficientAdditiveAttention)]
    for part in attentions:
        part.attention = "sum"
    wrong = prepare(subject)
    for part in attentions:
        part.attention = "token_l2"
    paths = []
    for built in (wrong.real.built, wrong.stress.built):
        folder = tmp_path_factory.mktemp("fresh")
        paths.append(exporting.convert(subject, built, folder, "m", "onnx", "fp16")[0])
    return right, paths


def test_the_wrong_generation_passes_on_weights_as_initialised(fresh):
    """Layer scales of 1e-5 close the branch that is wrong: no tolerance on these weights can tell."""
    right, (path, _) = fresh
    assert parity.outputs_leg("outputs", open_artifact(path), right.real, precision="fp16").verdict == "pass"


def test_the_wrong_generation_fails_under_stress(fresh):
    right, (_, twin) = fresh
    leg = parity.outputs_leg("stress", open_artifact(twin), right.stress, precision="fp16")
    assert leg.verdict == "fail"
    assert leg.outputs[0].psnr_db < 30


def hf_name(key):
    """Hugging Face's name for an official key, as in the guide's table."""
    for old, new in (
        (".dwconv.", ".depth_wise_conv."),
        (".pwconv", ".point_wise_conv"),
        (".attn.Proj.", ".attn.proj."),
        ("patch_embed.", "swiftformer.patch_embed.patch_embedding."),
    ):
        key = key.replace(old, new)
    parts = key.split(".")
    if parts[0] == "network":
        block = ["blocks"] if parts[2].isdigit() else []
        key = ".".join(["swiftformer.encoder.network", parts[1], *block, *parts[2:]])
    return key


def test_weights_of_hugging_face_are_not_exported_as_token_l2(subject, tmp_path):
    """They load without an error, and answer nonsense."""
    renamed = {hf_name(key): value.clone() for key, value in subject.oracle.state_dict().items()}
    torch.save(renamed, tmp_path / "hf.pth")
    with pytest.raises(CheckpointError, match="computes 'sum' attention, not 'token_l2'") as caught:
        exporting.export(request(tmp_path / "bundle", checkpoint=str(tmp_path / "hf.pth")))
    assert caught.value.exit_code == 4
    assert [p.name for p in tmp_path.iterdir()] == ["hf.pth"]
