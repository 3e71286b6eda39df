"""A bundle on labelled images; a plain torch loop and the runtimes' public doors are the oracles."""

import csv
import dataclasses
import importlib
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from distributed import LocalCluster
from onnx import numpy_helper
from PIL import Image

from swiftdeploy import bundle, mil
from swiftdeploy.errors import ArtifactError, CheckpointError, ModelError, UsageError
from swiftdeploy.evaluation.decode import UnreadableImage
from swiftdeploy.pipeline.evaluate import EvaluationRequest, evaluate, most_precise, prepare, run
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions, to_plain

OWN = """
from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
"""

FP16 = "swiftformer_digits-fp16.mlpackage"
ONNX = "swiftformer_digits-fp32.onnx"
HALF = "swiftformer_digits-fp16.onnx"


@pytest.fixture(scope="module")
def checkpoint(digits):
    return str(digits / "swiftformer_digits.pth")


@pytest.fixture(scope="module")
def lean(digits_bundle, tmp_path_factory, refit):
    """The bundle without its packages, whose runtime is slow: for what does not depend on the kind of artifact."""
    folder = shutil.copytree(digits_bundle, tmp_path_factory.mktemp("lean") / "digits")
    for package in folder.glob("*.mlpackage"):
        shutil.rmtree(package)
    return refit(folder)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, digits):
    """Forty held-out digits under noise, on which the model is not always right: (CSV file, pixels, classes)."""
    folder = tmp_path_factory.mktemp("noisy")
    generator = np.random.Generator(np.random.PCG64(5))
    rows, pixels = [], []
    for index, file in enumerate(sorted((digits / "images").glob("*/*.png"))[::9]):
        clean = np.asarray(Image.open(file).convert("L"), dtype=np.float64)
        noised = np.clip(clean + 110 * generator.standard_normal(clean.shape), 0, 255).round().astype(np.uint8)
        Image.fromarray(noised).save(folder / f"{index:02d}.png")
        rows.append((f"{index:02d}.png", file.parent.name))
        pixels.append(np.repeat(noised[None], 3, axis=0))
    with (folder / "set.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label"), *rows])
    return folder / "set.csv", np.stack(pixels).astype(np.float32), np.array([int(label) for _, label in rows])


@pytest.fixture(scope="module")
def logits(oracle, noisy):
    """The oracle's answers, by a plain loop."""
    with torch.no_grad():
        return np.concatenate([oracle(torch.from_numpy((x[None] / 255 - 0.5) / 0.5)).numpy() for x in noisy[1]])


@pytest.fixture(scope="module")
def report(digits_bundle, noisy, checkpoint):
    return evaluate(EvaluationRequest(bundle=digits_bundle, images=noisy[0], checkpoint=checkpoint))


@pytest.fixture(scope="module")
def lean_report(lean, noisy, checkpoint):
    return evaluate(EvaluationRequest(bundle=lean, images=noisy[0], checkpoint=checkpoint))


def by_name(report):
    return {row.figures.subject: row.figures for row in report.rows}


def text(report):
    return json.dumps(to_plain(report), sort_keys=True, allow_nan=False)


@pytest.fixture
def damaged(refit):
    """damaged(bundle, factor) has one ONNX weight tensor times `factor`, and a manifest that says so."""

    def damage(folder, factor):
        model = onnx.load(folder / ONNX)
        tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
        onnx.save(model, folder / ONNX)
        return refit(folder)

    return damage


def test_the_oracles_figures_are_a_plain_loops(report, noisy, logits):
    classes = noisy[2]
    found = by_name(report)["oracle"]
    assert report.reference == "oracle"
    assert found.top1.count == (logits.argmax(1) == classes).sum() < report.images == 40
    assert found.top5.count == (np.argsort(-logits, 1)[:, :5] == classes[:, None]).any(1).sum()
    assert found.against is None


@pytest.mark.parametrize("name", [FP16, ONNX])
def test_an_artifacts_figures_are_its_runtimes(digits_bundle, report, noisy, logits, name):
    _, pixels, classes = noisy
    inputs = (pixels / 255 - 0.5) / 0.5
    if name == FP16:
        program = mil.load_program(digits_bundle / name)
        answers = np.concatenate([program.predict({"image": x[None]})["logits"] for x in inputs])
    else:
        session = onnxruntime.InferenceSession(str(digits_bundle / name), providers=["CPUExecutionProvider"])
        answers = np.concatenate([session.run(None, {"image": x[None]})[0] for x in inputs])
    found = by_name(report)[name]
    assert found.top1.count == (answers.argmax(1) == classes).sum()
    assert found.against.agreement.count == (answers.argmax(1) == logits.argmax(1)).sum()
    error = np.square(answers.astype(np.float64) - logits)
    expected = 20 * np.log10(np.abs(logits).max() / np.sqrt(error.mean()))
    assert found.against.drift.psnr_db == pytest.approx(expected, abs=0.5 if name == FP16 else 3)
    assert found.against.drift.worst_db < found.against.drift.psnr_db


def test_every_held_out_digit(lean, digits, checkpoint, scores, held_out):
    found = evaluate(EvaluationRequest(bundle=lean, images=digits / "images", checkpoint=checkpoint))
    expected = (scores.argmax(1) == held_out[1]).sum()
    assert found.images == 360
    assert {f.top1.count for f in by_name(found).values()} == {expected}
    assert {f.against.agreement.count for f in by_name(found).values() if f.against} == {360}
    assert found.differences == ()
    assert found.class_names == tuple("0123456789")


def test_without_a_checkpoint_the_most_precise_artifact_is_the_reference(digits_bundle, noisy, report):
    found = evaluate(EvaluationRequest(bundle=digits_bundle, images=noisy[0], limit=12, seed=3))
    assert (found.reference, found.checkpoint_sha256) == (ONNX, "")
    assert "oracle" not in by_name(found)
    assert by_name(found)[ONNX].against is None
    assert by_name(found)[FP16].against.agreement.of == 12
    assert (found.subset.limit, found.subset.seed, found.subset.of) == (12, 3, 40)


def test_the_smallest_that_is_as_good_is_recommended(report, lean_report, digits_bundle):
    assert report.recommendation.artifact == FP16
    size = sum(path.stat().st_size for path in (digits_bundle / FP16).rglob("*") if path.is_file())
    assert {row.figures.subject: row.bytes for row in report.rows} == {
        "oracle": 0,
        **{record.path: record.bytes for record in bundle.read_bundle(digits_bundle).manifest.artifacts},
    }
    share = by_name(report)[FP16].top1
    assert f"{size:,} bytes, {share.percent:.2f} % (95 %: {share.low:.1f} to " in report.recommendation.reason
    assert "the oracle's top-1" in report.recommendation.reason
    assert lean_report.recommendation.artifact == HALF, "there are no packages"


def test_a_compressed_reference_recommends_and_judges_nothing(export_to, noisy, checkpoint):
    """Measured against itself, a compressed artifact loses nothing, whatever it has lost."""
    made = export_to(targets=("onnx",), precisions=("w8",), verify=False)
    alone = EvaluationRequest(bundle=made.bundle, images=noisy[0], limit=8)
    found = evaluate(alone)
    assert (found.reference, found.recommendation.artifact) == ("swiftformer_digits-w8.onnx", "")
    assert "swiftformer_digits-w8.onnx, is compressed" in found.recommendation.reason
    assert "give --checkpoint" in found.recommendation.reason
    with pytest.raises(UsageError, match=r"--max-top1-drop cannot be judged: .*-w8\.onnx, is compressed") as caught:
        prepare(dataclasses.replace(alone, max_top1_drop=0.5))
    assert "--checkpoint" in caught.value.hint
    # Beside the oracle it is one artifact among others, and a floor needs no reference.
    beside = evaluate(dataclasses.replace(alone, checkpoint=checkpoint, max_top1_drop=100.0))
    assert beside.recommendation.artifact == "swiftformer_digits-w8.onnx"
    assert [b.name for b in evaluate(dataclasses.replace(alone, min_top1=0.0)).budgets] == ["min_top1"]


def test_an_uncompressed_reference_judges(lean, noisy):
    found = evaluate(EvaluationRequest(bundle=lean, images=noisy[0], limit=8, max_top1_drop=0.5))
    assert (found.reference, found.recommendation.artifact) == (ONNX, HALF)
    assert found.budgets[0].broken == ()


def test_which_artifact_is_the_most_precise(digits_bundle):
    artifacts = bundle.read_manifest(digits_bundle).artifacts
    assert most_precise(artifacts).path == ONNX
    assert most_precise([a for a in artifacts if a.path != ONNX]).path == "swiftformer_digits-fp32.mlpackage"
    assert most_precise([a for a in artifacts if a.precision == "fp16"]).path == HALF


def test_a_worse_artifact_shows(digits_copy, noisy, checkpoint, logits, damaged):
    """One tensor times -1: what it then gets wrong, and right by luck, by ONNX Runtime's own account."""
    folder = damaged(digits_copy, -1)
    request = EvaluationRequest(bundle=folder, images=noisy[0], checkpoint=checkpoint, min_top1=40.0, max_top1_drop=1.0)
    found = evaluate(request)
    _, pixels, classes = noisy
    session = onnxruntime.InferenceSession(str(folder / ONNX), providers=["CPUExecutionProvider"])
    answers = np.concatenate([session.run(None, {"image": (x[None] / 255 - 0.5) / 0.5})[0] for x in pixels])
    theirs, mine = logits.argmax(1), answers.argmax(1)
    beside = by_name(found)[ONNX].against
    assert beside.agreement.count == (mine == theirs).sum() < 40
    assert beside.only_reference == ((theirs == classes) & (mine != classes)).sum() > 0
    assert beside.only_subject == ((theirs != classes) & (mine == classes)).sum()
    assert {d.name for d in found.differences} >= {f"{i:02d}.png" for i in np.flatnonzero(mine != theirs)}
    first = next(d for d in found.differences if d.best[ONNX] != d.best["oracle"])
    index = int(first.name[:2])
    assert (first.label, first.best["oracle"], first.best[ONNX]) == (classes[index], theirs[index], mine[index])
    broken = {b.name: b.broken for b in found.budgets}
    assert ONNX in broken["max_top1_drop"]
    assert FP16 not in broken["max_top1_drop"]
    assert (ONNX in broken["min_top1"]) == ((mine == classes).mean() < 0.4)


def test_budgets_are_exact(lean, noisy, lean_report):
    top1 = by_name(lean_report)[ONNX].top1
    exactly = 100 * top1.count / top1.of
    for limit, broken in ((exactly, False), (exactly + 1e-9, True)):
        found = evaluate(EvaluationRequest(bundle=lean, images=noisy[0], min_top1=limit))
        assert bool(found.budgets[0].broken) == broken
        assert found.budgets[0].limit == limit


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, silence_logs=50) as running:
        yield running.scheduler_address


@pytest.mark.parametrize("road", ["processes", "dask"])
def test_the_same_bytes_however_the_work_is_spread(request, digits_bundle, noisy, checkpoint, report, road):
    how = {"jobs": 2} if road == "processes" else {"scheduler": request.getfixturevalue("cluster")}
    found = evaluate(EvaluationRequest(bundle=digits_bundle, images=noisy[0], checkpoint=checkpoint, **how))
    assert text(found) == text(report)


def test_threads_decide_nothing(digits_bundle, noisy, checkpoint, report):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = evaluate(EvaluationRequest(bundle=digits_bundle, images=noisy[0], checkpoint=checkpoint))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert text(found) == text(report)


def test_resuming(lean, noisy, checkpoint, lean_report, tmp_path):
    """Cut in the middle of a chunk's lines: the rest is answered, and the whole is that of one run."""
    journal = tmp_path / "answers.jsonl"
    request = EvaluationRequest(bundle=lean, images=noisy[0], checkpoint=checkpoint, resume=journal)
    assert text(evaluate(request)) == text(lean_report)
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 41
    journal.write_bytes(b"".join(lines[:22]) + lines[22][:30])
    assert text(evaluate(request)) == text(lean_report)
    assert len(journal.read_bytes().splitlines()) > 41  # chunks that were whole are not answered again
    # What it holds is taken as it is: another answer in it is another figure.
    forged = json.loads(lines[1])
    forged["given"]["oracle"]["best"][0] = 9 - forged["given"]["oracle"]["best"][0]
    journal.write_bytes(b"".join([lines[0], json.dumps(forged).encode() + b"\n", *lines[2:]]))
    assert [d.name for d in evaluate(request).differences] == sorted(
        {forged["name"], *(d.name for d in lean_report.differences)}
    )


@pytest.mark.parametrize(
    ("change", "differs"),
    [({"checkpoint": None}, "checkpoint"), ({"limit": 10}, "images"), ({"exif": "apply"}, "exif")],
)
def test_a_journal_of_another_evaluation(lean, noisy, checkpoint, tmp_path, change, differs):
    plain = {"bundle": lean, "images": noisy[0], "checkpoint": checkpoint, "resume": tmp_path / "j"}
    evaluate(EvaluationRequest(**{**plain, "limit": 8}))
    with pytest.raises(UsageError, match=f"belongs to another evaluation: it differs in {differs}"):
        evaluate(EvaluationRequest(**{**plain, "limit": 8, **change}))


def test_a_journal_of_other_pixels_in_as_many_bytes(lean, tmp_path):
    """Uncompressed images of one shape have one size, whatever they show."""
    for index in range(4):
        Image.fromarray(np.full((40, 40), 60 * index, np.uint8)).save(tmp_path / f"{index}.bmp")
    rows = "".join(f"{index}.bmp,{index}\n" for index in range(4))
    (tmp_path / "set.csv").write_text(f"file,label\n{rows}")
    request = EvaluationRequest(bundle=lean, images=tmp_path / "set.csv", resume=tmp_path / "j")
    first = evaluate(request)
    assert evaluate(request) == first
    shutil.copy(tmp_path / "0.bmp", tmp_path / "1.bmp")
    with pytest.raises(UsageError, match="it differs in images"):
        evaluate(request)


def test_a_journal_of_other_model_code(noisy, tmp_path, monkeypatch):
    """The oracle is what the code says: with other code it may answer otherwise."""
    source = tmp_path / "own_net_evaluated.py"
    source.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    torch.save(importlib.import_module("own_net_evaluated").make().state_dict(), tmp_path / "net.pth")
    own = {"checkpoint": str(tmp_path / "net.pth"), "model": "own_net_evaluated:make"}
    options = ExportOptions(targets=("onnx",), precisions=("fp32",), input_size=(32, 32))
    export(ExportRequest(**own, destination=tmp_path / "dist", options=options))
    request = EvaluationRequest(**own, bundle=tmp_path / "dist", images=noisy[0], limit=8, resume=tmp_path / "j")
    first = evaluate(request)
    assert evaluate(request) == first
    source.write_text(OWN + "# changed\n")
    with pytest.raises(UsageError, match="it differs in model"):
        evaluate(request)


def test_another_bundles_journal(lean, digits_copy, noisy, tmp_path, damaged):
    evaluate(EvaluationRequest(bundle=lean, images=noisy[0], limit=8, resume=tmp_path / "j"))
    other = damaged(digits_copy, 1.5)
    with pytest.raises(UsageError, match="it differs in bundle"):
        evaluate(EvaluationRequest(bundle=other, images=noisy[0], limit=8, resume=tmp_path / "j"))


@pytest.fixture
def small(tmp_path):
    """A table of eleven images of noise, one of them cut in half."""
    (tmp_path / "small").mkdir()
    for index in range(11):
        pixels = np.random.Generator(np.random.PCG64(index)).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "small" / f"{index:02d}.png")
    rows = [("file", "label"), *((f"{index:02d}.png", index % 2) for index in range(11))]
    with (tmp_path / "small" / "set.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    cut = tmp_path / "small" / "04.png"
    cut.write_bytes(cut.read_bytes()[:700])
    return tmp_path / "small" / "set.csv"


def test_an_image_that_breaks_off_stops_the_run_or_is_listed(lean, small):
    with pytest.raises(UnreadableImage, match=r"04\.png is no readable image") as caught:
        evaluate(EvaluationRequest(bundle=lean, images=small))
    assert caught.value.exit_code == 2
    assert "--skip-unreadable" in caught.value.hint
    found = evaluate(EvaluationRequest(bundle=lean, images=small, skip_unreadable=True))
    assert (found.images, [s.name for s in found.skipped]) == (10, ["04.png"])
    assert str(small.parent) not in text(found)  # no path of this machine in a document


def test_an_image_without_a_header_is_found_before_anything_runs(lean, small):
    (small.parent / "09.png").write_bytes(b"")
    with pytest.raises(UnreadableImage, match=r"09\.png"):
        prepare(EvaluationRequest(bundle=lean, images=small))
    found = evaluate(EvaluationRequest(bundle=lean, images=small, skip_unreadable=True))
    assert (found.images, [s.name for s in found.skipped]) == (9, ["04.png", "09.png"])


def test_a_skipped_image_does_not_change_the_others(lean, small, tmp_path):
    request = EvaluationRequest(bundle=lean, images=small, skip_unreadable=True, resume=tmp_path / "j")
    first = evaluate(request)
    assert text(evaluate(request)) == text(first)
    # Without the permission to skip, what the journal skipped is read again.
    with pytest.raises(UnreadableImage, match=r"04\.png"):
        evaluate(dataclasses.replace(request, skip_unreadable=False))


def test_an_artifact_that_changed_since_is_not_evaluated(digits_copy, noisy):
    prepared = prepare(EvaluationRequest(bundle=digits_copy, images=noisy[0], limit=16))
    with (digits_copy / ONNX).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactError, match="is not the artifact that is evaluated"):
        run(prepared)


def test_a_bundle_is_hashed_first(digits_copy, noisy):
    with (digits_copy / ONNX).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactError, match=f"changed {ONNX}"):
        prepare(EvaluationRequest(bundle=digits_copy, images=noisy[0]))


def test_another_checkpoint_is_refused_with_both_digests(digits_bundle, noisy, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    state["model"]["head.weight"].view(-1)[0] += 1
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth is not the bundle's checkpoint: .*sha256") as caught:
        prepare(EvaluationRequest(bundle=digits_bundle, images=noisy[0], checkpoint=str(tmp_path / "other.pth")))
    assert caught.value.exit_code == 4
    assert bundle.read_manifest(digits_bundle).provenance.sha256[:16] in caught.value.fact


def test_an_untrained_bundle_has_no_checkpoint(export_to, noisy, checkpoint):
    made = export_to(request={"untrained": 1}, targets=("onnx",), precisions=("fp32",), verify=False)
    with pytest.raises(CheckpointError, match="made of untrained weights"):
        prepare(EvaluationRequest(bundle=made.bundle, images=noisy[0], checkpoint=checkpoint))
    found = evaluate(EvaluationRequest(bundle=made.bundle, images=noisy[0], limit=8))
    assert (found.recommendation.artifact, found.weights) == ("", "untrained")
    assert found.weights == "untrained"


def test_pixels_in_probabilities_out(export_to, digits, noisy, checkpoint, logits):
    """A classifier with an image input answers with probabilities, and is compared with the oracle's."""
    made = export_to(
        request={"labels": str(digits / "labels.txt")},
        targets=("coreml", "onnx"),
        precisions=("fp32",),
        input_kind="image",
        verify=False,
    )
    found = evaluate(EvaluationRequest(bundle=made.bundle, images=noisy[0], checkpoint=checkpoint))
    classes = noisy[2]
    assert {f.top1.count for f in by_name(found).values()} == {(logits.argmax(1) == classes).sum()}
    drift = by_name(found)["swiftformer_digits-fp32.mlpackage"].against.drift
    assert drift.worst_db > 100
    assert found.class_names[3] == "three"
    # The other way round: without the oracle, scores are compared as the probabilities of the reference.
    beside = evaluate(EvaluationRequest(bundle=made.bundle, images=noisy[0], limit=8))
    assert beside.reference == ONNX
    assert by_name(beside)["swiftformer_digits-fp32.mlpackage"].against.drift.worst_db > 100


def test_batches(export_to, noisy, checkpoint, logits):
    made = export_to(targets=("onnx",), precisions=("fp32",), batch=3, verify=False)
    found = evaluate(EvaluationRequest(bundle=made.bundle, images=noisy[0], checkpoint=checkpoint))
    assert by_name(found)[ONNX].top1.count == (logits.argmax(1) == noisy[2]).sum()
    assert by_name(found)[ONNX].against.drift.worst_db > 100


def test_a_model_that_is_no_classifier(digits_copy, noisy, refit):
    manifest = bundle.read_manifest(digits_copy)
    maps = tuple(dataclasses.replace(o, shape=(1, 10, 4, 4)) for o in manifest.outputs)
    refit(digits_copy, outputs=maps)
    with pytest.raises(ModelError, match="gives no scores of classes"):
        prepare(EvaluationRequest(bundle=digits_copy, images=noisy[0]))


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"limit": 0}, "--limit 0 leaves no image"),
        ({"jobs": 0}, "--jobs 0 is not positive"),
        ({"jobs": 2, "scheduler": "tcp://x:1"}, "contradict"),
        ({"exif": "maybe"}, "--exif 'maybe' is not known"),
        ({"min_top1": float("nan")}, "--min-top1 nan is no bound"),
        ({"max_top1_drop": float("inf")}, "--max-top1-drop inf is no bound"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, change, fact):
    with pytest.raises(UsageError, match=fact):
        EvaluationRequest(bundle=tmp_path, images=tmp_path, **change)
