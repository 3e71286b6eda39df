"""Differences of bundles and runs, against numbers worked out from the files by other means."""

import dataclasses
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from swiftdeploy import bundle
from swiftdeploy.bundle.read import ArtifactError
from swiftdeploy.errors import UsageError
from swiftdeploy.matrix.diff import Figure, diff
from swiftdeploy.matrix.summary import summary_of
from swiftdeploy.pipeline.contents import WeightsDifference, ops_difference, weights_difference
from swiftdeploy.pipeline.device import import_result
from swiftdeploy.runs import Accuracy, CacheOutcome, JobReport, RunReport, Totals, encode_run

ONNX = "swiftformer_digits-fp32.onnx"
NAMES = ("coreml", "onnx")


def scaled(path, factor, *, index=0):
    """One initializer of an ONNX file times a factor; (its name, the relative L2 distance by numpy)."""
    model = onnx.load(path)
    tensors = sorted(model.graph.initializer, key=lambda t: -int(np.prod(t.dims)))
    tensor = tensors[index]
    before = numpy_helper.to_array(tensor)
    after = (before * np.float32(factor)).astype(before.dtype)
    tensor.CopyFrom(numpy_helper.from_array(after, tensor.name))
    onnx.save(model, path)
    distance = np.linalg.norm((after - before).astype(np.float64)) / np.linalg.norm(before.astype(np.float64))
    return tensor.name, float(distance)


def of(difference, name):
    return next(artifact for artifact in difference.bundles[0].artifacts if artifact.name == name)


def test_a_bundle_is_its_own_copy(digits_bundle, digits_copy):
    found = diff(digits_bundle, digits_copy.rename(digits_copy.with_name("renamed")))
    assert found.identical
    (only,) = found.bundles
    assert only.facts == {}
    assert [artifact.identical for artifact in only.artifacts] == [True] * 4
    assert all(figure.a == figure.b for artifact in only.artifacts for figure in artifact.figures)
    assert all(artifact.weights.same and artifact.weights.tensors for artifact in only.artifacts)


def test_weights_by_how_much(digits_bundle, digits_copy, refit):
    small = scaled(digits_copy / ONNX, 1.001)
    large = scaled(digits_copy / ONNX, 1.25, index=3)
    refit(digits_copy)
    found = diff(digits_bundle, digits_copy)
    assert not found.identical
    weights = of(found, ONNX).weights
    assert weights.changed == 2
    assert weights.worst == large[0] != small[0]
    assert weights.relative_l2 == pytest.approx(large[1], rel=1e-6)
    assert not weights.same
    assert of(found, ONNX).ops == {}
    assert of(found, "swiftformer_digits-fp16.onnx").identical


def test_ops_sizes_parity_and_facts(digits_bundle, digits_copy, refit):
    manifest = bundle.read_manifest(digits_copy)
    artifacts = list(manifest.artifacts)
    ops = dict(artifacts[0].ops)
    ops["conv"] -= 1
    ops["new"] = 2
    artifacts[0] = dataclasses.replace(artifacts[0], ops=ops, bytes=artifacts[0].bytes + 100, parity=None)
    refit(
        digits_copy,
        artifacts=tuple(artifacts),
        tool={**manifest.tool, "torch": "9"},
        model=dataclasses.replace(manifest.model, attention="sum"),
    )
    found = diff(digits_bundle, digits_copy)
    assert found.bundles[0].facts == {"attention": ("token_l2", "sum"), "torch": (manifest.tool["torch"], "9")}
    changed = of(found, artifacts[0].path)
    assert changed.ops == {"conv": (ops["conv"] + 1, ops["conv"]), "new": (0, 2)}
    figures = {figure.name: figure for figure in changed.figures}
    assert figures["size"].b - figures["size"].a == 100
    worst = min(o.psnr_db for o in manifest.artifacts[0].parity.legs[0].outputs)
    assert figures["outputs"] == Figure(kind="psnr", name="outputs", a=worst, b=None)
    assert figures["outputs top-1"].a == 1.0


def test_artifacts_that_came_and_went(digits_bundle, digits_copy, refit):
    manifest = bundle.read_manifest(digits_copy)
    (digits_copy / ONNX).rename(digits_copy / "another-fp32.onnx")
    renamed = tuple(
        dataclasses.replace(a, path="another-fp32.onnx") if a.path == ONNX else a for a in manifest.artifacts
    )
    refit(digits_copy, artifacts=renamed)
    paired = diff(digits_bundle, digits_copy).bundles[0]
    assert [a.name for a in paired.artifacts][-1] == f"{ONNX} → another-fp32.onnx"
    (digits_copy / "another-fp32.onnx").unlink()
    refit(digits_copy, artifacts=manifest.artifacts[:3])
    assert diff(digits_bundle, digits_copy).bundles[0].only_a == (ONNX,)
    assert diff(digits_copy, digits_bundle).bundles[0].only_b == (ONNX,)


def test_folders_of_bundles_by_name(digits_bundle, tmp_path):
    for name in ("old/one", "old/two", "new/two", "new/three", "new/.one.staging"):
        shutil.copytree(digits_bundle, tmp_path / name)
    found = diff(tmp_path / "old", tmp_path / "new")
    assert [bundle.name for bundle in found.bundles] == ["two"]
    assert (found.only_a, found.only_b) == (("one",), ("three",))
    assert not found.identical


def test_latency_of_the_same_device(digits_bundle, digits_copy, phone, tmp_path):
    plan = phone.plan_of(digits_bundle)
    other = shutil.copytree(digits_bundle, tmp_path / "other" / "digits")
    for folder, latency in ((digits_copy, 1000), (other, 2000)):
        latencies = {(model.label, unit): latency for model in plan.models for unit in plan.compute_units}
        import_result([phone.write(phone.run(plan, latencies), tmp_path / f"{latency}.json")], folder)
    figures = [f for a in diff(digits_copy, other).bundles[0].artifacts for f in a.figures if f.kind == "latency"]
    assert len(figures) == 2 * len(plan.compute_units)
    for figure in figures:
        assert "on iPhone14,7, iOS 16.0" in figure.name
        assert figure.b == pytest.approx(2 * figure.a, rel=0.05)


def test_runs(digits_bundle, tmp_path):
    summary = summary_of(bundle.read_bundle(digits_bundle))
    for name, top1 in (("a", 1.0), ("b", 0.9)):
        accuracy = (Accuracy(artifact=ONNX, images=360, top1=top1, top5=None),)
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(encode_run(run(dataclasses.replace(summary, accuracy=accuracy))))
    found = diff(tmp_path / "a", tmp_path / "b" / "run.json")
    figures = [figure for figure in of(found, ONNX).figures if figure.kind == "accuracy"]
    assert figures == [Figure(kind="accuracy", name="top-1 on 360 images", a=1.0, b=0.9)]
    assert of(found, ONNX).weights is None
    assert diff(tmp_path / "a", digits_bundle).bundles[0].artifacts[0].identical


def folder_of(tmp_path, name, files, summary):
    """A run's folder with one bundle, called digits as its job, and a report beside it."""
    shutil.copytree(files, tmp_path / name / "digits")
    (tmp_path / name / "run.json").write_text(encode_run(run(summary)))
    return tmp_path / name


def test_a_report_says_nothing_about_bytes_that_changed_beside_it(digits_bundle, tmp_path):
    summary = summary_of(bundle.read_bundle(digits_bundle))
    a, b = (folder_of(tmp_path, name, digits_bundle, summary) for name in "ab")
    assert diff(a, b).identical
    assert of(diff(a, b), ONNX).weights.same
    with (b / "digits" / ONNX).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="changed"):
        diff(a, b)
    (b / "digits" / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="missing"):
        diff(a, b)
    shutil.rmtree(b / "digits")
    assert of(diff(a, b), ONNX).weights is None  # a report by itself has figures, and no weights


def test_what_a_report_measured_is_of_the_artifacts_that_it_names(digits_bundle, digits_copy, refit, tmp_path):
    accuracy = (Accuracy(artifact=ONNX, images=360, top1=1.0, top5=None),)
    summary = dataclasses.replace(summary_of(bundle.read_bundle(digits_bundle)), accuracy=accuracy)
    scaled(digits_copy / ONNX, 1.25)
    refit(digits_copy)
    a, same, other = (
        folder_of(tmp_path, name, files, summary)
        for name, files in (("a", digits_bundle), ("same", digits_bundle), ("other", digits_copy))
    )
    expected = {same: [(1.0, 1.0)], other: [(1.0, None)]}
    for b, figures in expected.items():
        assert [(f.a, f.b) for f in of(diff(a, b), ONNX).figures if f.kind == "accuracy"] == figures
    assert of(diff(a, other), ONNX).weights.changed == 1


def run(summary):
    job = JobReport(
        name="digits",
        model=summary.model,
        checkpoint="x.pth",
        options={},
        artifacts=(),
        status="passed",
        exit_code=0,
        cache=CacheOutcome(state="off", reason=""),
        summary=summary,
    )
    lost = dataclasses.replace(job, name="lost", summary=None)
    totals = Totals(
        jobs=2, passed=1, cached=0, failed=1, skipped=0, checks={}, seconds=0.0, peak_memory_bytes=None, exit_code=5
    )
    return RunReport(
        schema=1, tool={}, config="swiftdeploy.toml", executor="local", baseline="", jobs=(job, lost), totals=totals
    )


def test_what_cannot_be_compared(digits_bundle, digits_copy, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no bundle"):
        diff(digits_bundle, tmp_path / "empty")
    with pytest.raises(UsageError, match="holds no bundle"):
        diff(tmp_path / "nowhere", digits_bundle)
    (digits_copy / ONNX).write_bytes(b"x")
    with pytest.raises(ArtifactError, match="changed"):
        diff(digits_bundle, digits_copy)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no run's report"):
        diff(digits_bundle, tmp_path / "x.json")


def graph(path, **tensors):
    """An ONNX file with these initializers and one op."""
    first = next(iter(tensors))
    node = onnx.helper.make_node("Identity", [first], ["y"])
    info = [onnx.helper.make_tensor_value_info(n, 1, [1]) for n in ("x", "y")]
    values = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in tensors.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", info[:1], info[1:], values))
    model.ir_version = 10
    onnx.save(model, path)
    return path


def test_tensors_that_came_went_or_changed_shape(tmp_path):
    a = graph(tmp_path / "a.onnx", same=[1.0], shape=[1.0, 2.0], gone=[1.0], zero=[0.0])
    b = graph(tmp_path / "b.onnx", same=[1.0], shape=[1.0], new=[1.0], zero=[1.0])
    assert weights_difference(a, b) == WeightsDifference(
        tensors=2, changed=1, worst="zero", relative_l2=None, only_a=("gone", "shape"), only_b=("new", "shape")
    )
    same = weights_difference(a, a)
    assert (same.same, same.tensors, same.worst, same.relative_l2) == (True, 4, "", 0.0)


def test_a_sign_of_zero_and_a_nan_are_changes(tmp_path):
    a = graph(tmp_path / "a.onnx", w=[0.0, 1.0])
    signed = weights_difference(a, graph(tmp_path / "b.onnx", w=[-0.0, 1.0]))
    assert (signed.changed, signed.relative_l2) == (1, 0.0)
    broken = weights_difference(a, graph(tmp_path / "c.onnx", w=[0.0, np.nan]))
    assert (broken.changed, broken.relative_l2) == (1, None)


def test_weights_that_cannot_be_read_back(tmp_path):
    assert weights_difference(tmp_path / "a.ort", tmp_path / "b.ort") is None


def test_ops_by_count():
    assert ops_difference({"a": 1, "b": 2}, {"b": 2, "c": 3}) == {"a": (1, 0), "c": (0, 3)}
