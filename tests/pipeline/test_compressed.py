"""Compressed artifacts of the digits checkpoint, from the export to the held-out images."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file

from swiftdeploy import mil
from swiftdeploy.bundle import read_bundle, unfinished_path
from swiftdeploy.cli import render
from swiftdeploy.errors import ArtifactError, BudgetError, ParityError, UsageError
from swiftdeploy.pipeline import against, unfinished, variants
from swiftdeploy.pipeline.against import verify_against
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.harness import harness_models
from swiftdeploy.pipeline.inspection import look
from swiftdeploy.pipeline.recommending import recommended
from swiftdeploy.pipeline.subject import load_subject, truth_of
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.recipe import Override, Recipe
from swiftdeploy.spec import ExportOptions

BATCH = 12
MIXED = Recipe(
    name="mixed",
    default="pal6",
    overrides=(
        Override(weights="network_6_*", scheme="pal4"),
        Override(weights="*_linear_fc1_weight", scheme="int4"),
        Override(weights="*_attn_final_weight", scheme="sparse50+int8"),
        Override(weights="network_1_proj_weight", scheme="fp16"),
    ),
)
NAMES = ("fp16", "int8", "w8a8", "mixed")


@pytest.fixture(scope="module")
def compressed(shared, digits, digits_request):
    def make(folder):
        images = {"images": digits / "images", "calibration": digits / "images"}
        precisions = ("fp16", "int8", "w8a8", "mixed.toml")
        export(
            digits_request(
                folder / "bundle", **images, precisions=precisions, recipes=(MIXED,), min_ios=18, batch=BATCH
            )
        )

    return shared("compressed", make) / "bundle"


@pytest.fixture(scope="module")
def records(compressed):
    return {a.path.split("-")[1].removesuffix(".mlpackage"): a for a in read_bundle(compressed).manifest.artifacts}


@pytest.fixture(scope="module")
def answers(compressed, held_out, records):
    """Logits (360, 10) of every artifact on the held-out digits, by the public door of the reference runtime."""
    images = (held_out[0] / 255 - 0.5) / 0.5
    found = {}
    for name, record in records.items():
        program = mil.load_program(compressed / record.path)
        dtype = program.inputs[0].dtype
        parts = [images[i : i + BATCH].astype(dtype) for i in range(0, len(images), BATCH)]
        found[name] = np.concatenate([program.predict({"image": part})["logits"] for part in parts])
    return found


@pytest.mark.parametrize(("name", "least"), [("fp16", 1.0), ("int8", 0.995), ("w8a8", 0.99), ("mixed", 0.99)])
def test_top1_on_the_held_out_digits(answers, scores, held_out, name, least):
    found = answers[name]
    assert found.shape == (360, 10)
    oracle = (scores.argmax(1) == held_out[1]).mean()
    assert (found.argmax(1) == held_out[1]).mean() >= oracle - (1.0 - least)
    if name == "fp16":
        assert np.array_equal(found.argmax(1), scores.argmax(1))


def test_sizes_and_what_is_recorded(compressed, records):
    fp16 = records["fp16"]
    assert fp16.compression is None
    assert records["int8"].bytes < 0.65 * fp16.bytes
    assert records["mixed"].bytes < 0.52 * fp16.bytes
    for name in NAMES[1:]:
        found = records[name].compression
        assert found.base_bytes == fp16.bytes
        assert found.golden == f"golden/{name}.safetensors"
        assert {tensor.name for tensor in found.tensors}.isdisjoint(kept.name for kept in found.kept)
    mixed = {tensor.name: tensor for tensor in records["mixed"].compression.tensors}
    assert mixed["network_6_0_pwconv1_weight"].scheme == "pal4"
    assert mixed["network_4_1_linear_fc1_weight"].scheme == "int4"
    assert mixed["network_4_1_linear_fc1_weight"].group == 24
    kept = {tensor.name: tensor.reason for tensor in records["mixed"].compression.kept}
    assert kept["network_1_proj_weight"] == "the recipe keeps it in fp16"
    assert kept["network_6_0_dwconv_weight"] == "it has 864 values, no more than 2048"
    assert records["w8a8"].compression.calibration.images == 128
    assert records["w8a8"].ops["quantize"] > 50


def test_the_recorded_recipe_makes_the_same_artifact_again(compressed, records, tmp_path, digits_request):
    recipe = records["mixed"].compression.recipe
    assert recipe == MIXED
    options = {"precisions": ("mixed.toml",), "recipes": (recipe,), "min_ios": 18, "batch": BATCH, "verify": False}
    request = digits_request(tmp_path / "again", **options)
    again = export(request).manifest.artifacts[0]
    assert (again.sha256, again.parity) == (records["mixed"].sha256, None)
    assert again.compression == records["mixed"].compression


def test_fidelity_drift_and_golden_answers(compressed, records, scores, held_out, answers):
    for name in NAMES[1:]:
        parity = records[name].parity
        legs = {leg.name: leg for leg in parity.legs}
        assert set(legs) == {"outputs", "weights"} | ({"stress"} if name != "w8a8" else set())
        assert parity.verdict == ("pass" if name != "w8a8" else parity.verdict) != "fail"
        assert legs["outputs"].outputs[0].psnr_db > (50 if name != "w8a8" else records[name].compression.fails_db)
        assert legs["weights"].weights.equal == legs["weights"].weights.tensors > 50
        assert parity.drift.images[0].samples == 16
        assert parity.drift.images[0].top1 == 1.0
        golden = load_file(compressed / "golden" / f"{name}.safetensors")
        assert golden["logits"].shape == (4, 10)
    assert records["fp16"].parity.drift is None
    # Measured once more, on all held-out images and by formulas of our own here: the same order, about the same size.
    drifts = {n: records[n].parity.drift.images[0].psnr_db for n in NAMES[1:]}
    for name, recorded in drifts.items():
        error = np.sqrt(np.mean(np.square(answers[name].astype(np.float64) - scores)))
        assert abs(20 * np.log10(np.abs(scores).max() / error) - recorded) < 6
    assert drifts["int8"] > drifts["mixed"]


def test_golden_answers_are_those_of_the_decompressed_module(compressed, records, oracle):
    """Eager torch, unfused weights aside: int8's decompressed module is close to the oracle and is not the oracle."""
    inputs = load_file(compressed / "golden" / "inputs.safetensors")["image"]
    plain = load_file(compressed / "golden" / "outputs.safetensors")["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(plain, oracle(torch.from_numpy(inputs)).numpy(), rtol=1e-4, atol=1e-4)
    own = load_file(compressed / "golden" / "int8.safetensors")["logits"]
    assert 0 < np.abs(own - plain).max() < 0.5
    program = mil.load_program(compressed / records["int8"].path)
    filled = np.concatenate([inputs, np.zeros((BATCH - 4, *inputs.shape[1:]), np.float32)])
    found = program.predict({"image": filled.astype(program.inputs[0].dtype)})["logits"][:4]
    assert np.abs(found - own).max() < np.abs(found - plain).max()


def test_it_verifies_by_itself_and_against_the_checkpoint(compressed, digits):
    assert [report.verdict != "fail" for report in verify_bundle(compressed).reports] == [True] * 4
    found = verify_against(
        compressed, str(digits / "swiftformer_digits.pth"), model=None, attention=None, images=digits / "images"
    )
    legs = {report.precision: [leg.name for leg in report.legs] for report in found.reports}
    assert legs["int8"] == legs["mixed.toml"] == ["outputs", "weights"]
    assert legs["w8a8"] == ["weights"]


def test_another_checkpoint_is_refused_by_the_compressed_weights(compressed, digits, tmp_path):
    state = torch.load(digits / "swiftformer_digits.pth", weights_only=True)
    state["model"]["network.4.0.pwconv1.weight"].mul_(1.05)
    torch.save(state, tmp_path / "other.pth")
    claim = against._bundle_claim(compressed, str(tmp_path / "other.pth"), model=None, attention=None, images=None)
    subject = load_subject(claim.request)
    truth = truth_of(subject, subject.oracle, subject.samples)
    claimed = next(c for c in claim.artifacts if c.precision == "mixed.toml")
    report = against._check_compressed(claimed, claimed.compression, subject, truth)
    assert {leg.name: leg.verdict for leg in report.legs}["weights"] == "fail"
    assert "network_4_0_pwconv1_weight" in report.legs[1].weights.problems[0]


def test_a_lone_compressed_package_does_not_know_its_recipe(compressed, records, digits):
    with pytest.raises(UsageError, match="only its bundle knows"):
        verify_against(
            compressed / records["int8"].path,
            str(digits / "swiftformer_digits.pth"),
            model="swiftformer_digits",
            attention="token_l2",
            images=None,
        )


def test_a_golden_file_that_is_missing_is_noticed(compressed, tmp_path):
    copy = shutil.copytree(compressed, tmp_path / "bundle")
    (copy / "golden" / "int8.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"missing golden/int8\.safetensors"):
        verify_bundle(copy)


def test_inspect_shows_bits(compressed):
    found = look(str(compressed))
    assert found["int8"][0].startswith("25 weights with 317,952 values, 8.")
    assert any("network_6_0_pwconv1_weight  pal4  4." in line for line in found["mixed.toml"])
    assert any(line.startswith("fp16: 1 weights, the recipe keeps it") for line in found["mixed.toml"])


def test_the_table_fits_80_columns_and_tells_fidelity_from_drift(compressed):
    manifest = read_bundle(compressed).manifest
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(render.choice(manifest, width=80))
    lines = screen.export_text().splitlines()
    assert lines[0].split() == ["artifact", "MB", "of", "base", "fidelity", "drift", "top-1", "verdict"]
    assert [line.split()[:2] for line in lines[1:]] == [["coreml", name] for name in NAMES]
    int8 = lines[2].split()
    assert int8[3].endswith("%")
    assert int8[6:] == ["100.0%", "pass"]
    assert max(map(len, lines)) <= 80
    assert "on 16 of your images" in render.choice_notes(manifest)


def test_one_is_recommended_by_the_images_of_the_export(compressed, records):
    manifest = read_bundle(compressed).manifest
    found = recommended(manifest)
    assert found.artifact == min(records.values(), key=lambda record: record.bytes).path
    assert "the smallest of 4 Core ML artifacts within 0.5 points of the oracle's answers" in found.reason
    assert "one image of 16 is 6.2 points" in found.reason

    def missing_one(record):
        """The same artifact, had it answered one image of 16 otherwise."""
        images = tuple(dataclasses.replace(output, top1=0.9375) for output in record.parity.drift.images)
        drift = dataclasses.replace(record.parity.drift, images=images)
        return dataclasses.replace(record, parity=dataclasses.replace(record.parity, drift=drift))

    fp16, *worse = (record if name == "fp16" else missing_one(record) for name, record in records.items())
    assert recommended(dataclasses.replace(manifest, artifacts=(fp16, *worse))).artifact == fp16.path
    none = recommended(dataclasses.replace(manifest, artifacts=tuple(worse)))
    assert none.artifact == ""
    assert "the closest, swiftformer_digits-mixed.mlpackage, has 93.75 %" in none.reason
    assert recommended(dataclasses.replace(manifest, artifacts=(records["fp16"],))) is None, "nothing was compressed"


def test_the_harness_holds_each_to_its_own_answers(compressed, records):
    models = {model.precision: model for model in harness_models(read_bundle(compressed))}
    assert set(models) == set(NAMES)
    assert models["int8"].golden_outputs.name == "int8.safetensors"
    assert models["fp16"].golden_outputs.name == "outputs.safetensors"
    assert models["w8a8"].gate_db == records["w8a8"].compression.passes_db
    assert {model.name for model in models.values()} == {"swiftformer_digits"}


# --- what is refused, and what an interruption leaves ---


def test_budgets_refuse_and_nothing_is_written(export_to, tmp_path):
    with pytest.raises(BudgetError, match=r"logits has .* dB on our own samples, the budget is 60 dB") as caught:
        export_to(precisions=("pal2",), max_drift_db=60.0)
    assert caught.value.exit_code == 6
    assert list((tmp_path).rglob("*")) == []


def test_calibration_is_checked_before_anything_slow(export_to, tmp_path, monkeypatch):
    monkeypatch.setattr("swiftdeploy.pipeline.export.prepare", lambda _: pytest.fail("this is the slow part"))
    with pytest.raises(UsageError, match="'w8a8' is calibrated on images for coreml, and none are given"):
        export_to(precisions=("w8a8",), min_ios=17)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        export_to(request={"calibration": empty}, precisions=("w8a8",), min_ios=17)
    for number in range(200):
        Image.new("RGB", (8, 8), number).save(empty / f"{number:03}.png")
    (empty / "101.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"101\.png is no readable image"):
        export_to(request={"calibration": empty}, precisions=("w8a8",), min_ios=17)


def test_an_interruption_leaves_what_was_finished(export_to, tmp_path, monkeypatch, capsys):
    make = variants.make_variant

    def interrupted(subject, pair, bases, folder, precision):
        if precision == "sparse75":
            raise KeyboardInterrupt
        return make(subject, pair, bases, folder, precision)

    destination = tmp_path / "dist" / "bundle"
    with monkeypatch.context() as patched:
        patched.setattr(variants, "make_variant", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_to(precisions=("fp16", "int8", "sparse75"), verify=False)
    assert not destination.exists()
    left = unfinished_path(destination)
    assert sorted(path.name for path in left.parent.iterdir()) == [left.name]
    assert "interrupted: 2 artifacts are finished, in" in " ".join(capsys.readouterr().err.split())
    manifest = json.loads((left / "manifest.json").read_text())
    assert manifest["unfinished"] == look(str(left))["unfinished"] == ["coreml sparse75"]
    assert [report.precision for report in verify_bundle(left).reports] == ["fp16", "int8"]
    unfinished.drop(destination)
    assert not left.exists(), "what a whole bundle makes needless goes"


def test_a_whole_bundle_of_that_name_stays(digits_copy, tmp_path):
    """An export named X-unfinished is somebody's bundle, and no leftover of X."""
    mine = digits_copy.rename(tmp_path / "bundle-unfinished")
    unfinished.drop(tmp_path / "bundle")
    record = read_bundle(mine).manifest.artifacts[0]
    options = ExportOptions(precisions=("fp16", "int8"))
    unfinished.keep(tmp_path / "bundle", tmp_path, [record], options, lambda *_: pytest.fail("nothing is written"))
    assert verify_bundle(mine).files > 5


def test_an_interruption_before_anything_is_finished_leaves_nothing(export_to, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(variants, "make_variant", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_to(precisions=("int8",), verify=False)
    assert list(tmp_path.rglob("*")) == []


def test_a_wrong_decompression_is_refused(export_to, tmp_path, monkeypatch):
    """The artifact runs by our kernels, its reference by coremltools: one of them wrong is a failure."""
    from swiftdeploy.pipeline import compressed as module

    right = module.compress.dense_weights

    def wrong(path):
        found = right(path)
        if "int8" in path.name:
            found["network_4_0_pwconv1_weight"] = found["network_4_0_pwconv1_weight"] * np.float16(1.01)
        return found

    monkeypatch.setattr(module.compress, "dense_weights", wrong)
    with pytest.raises(ParityError, match="fails leg"):
        export_to(precisions=("int8",))
    assert list(tmp_path.rglob("*")) == []
