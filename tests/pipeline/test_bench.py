"""Latency on this host: what is measured and stated; never how fast this machine is."""

import dataclasses
import shutil

import numpy as np
import pytest

from swiftdeploy.bundle import read_bundle, save_arrays
from swiftdeploy.errors import ArtifactError
from swiftdeploy.harness.plan import WarmUpPlan
from swiftdeploy.harness.results import read_result
from swiftdeploy.pipeline.bench import DEFAULT, bench, write_result
from swiftdeploy.pipeline.bench import _sample as sample_parity

SMALL = dataclasses.replace(
    DEFAULT, rounds=3, predictions_per_round=2, warm_up=WarmUpPlan(minimum=2, maximum=2, window=1)
)
ARTIFACTS = [f"swiftformer_digits-{p}.{kind}" for kind in ("mlpackage", "onnx") for p in ("fp16", "fp32")]


@pytest.fixture(scope="module")
def found(digits_bundle):
    return bench(digits_bundle, plan=SMALL, threads=1)


def test_every_artifact_runs_twice_in_its_runtime(found):
    assert list(found.artifacts.values()) == ARTIFACTS
    assert list(found.runtimes.values()) == ["reference runtime"] * 2 + ["ONNX Runtime"] * 2
    assert len(found.measurement.pairs) == 8
    for pair in found.measurement.pairs:
        assert pair.status == "measured"
        assert (len(pair.rounds), pair.statistics.n) == (3, 6)
        assert pair.load.warm_ns > 0
    assert found.measurement.device.kind == "host"


def test_artifacts_take_turns_in_every_round(found):
    orders = found.measurement.plan.schedule()
    assert all(sorted(order) == list(range(8)) for order in orders)
    for index, order in enumerate(orders):
        starts = [found.measurement.pairs[pair].rounds[index].start_ns for pair in order]
        assert starts == sorted(starts)


def test_noise_and_comparisons_are_paired(found):
    assert list(found.noise) == list(found.artifacts)
    assert {row.unit for row in found.noise.values()} == {"host again / host"}
    first, *rest = found.artifacts
    assert [(c.label_a, c.label_b) for c in found.comparisons] == [(first, label) for label in rest]
    assert all(row.paired for comparison in found.comparisons for row in comparison.rows)


def test_parity_is_that_of_the_golden_data(found, digits_bundle):
    for label, path in found.artifacts.items():
        (parity,) = found.measurement.pair(label, "host").parity
        assert (parity.output, parity.verdict, parity.count, len(parity.samples)) == ("logits", "pass", 10, 4)
        assert parity.psnr_db > (100 if "fp32" in path else 50)
        assert all(sample.top1 for sample in parity.samples)


def test_the_result_is_sealed_and_reads_back(found, tmp_path):
    write_result(found.measurement, tmp_path / "host.json")
    again = read_result(tmp_path / "host.json", plan=found.measurement.plan)
    assert again.pairs == found.measurement.pairs
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_result(found.measurement, tmp_path / "no" / "host.json")


def test_parity_by_definition():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(10)
    answer = (reference + 1e-3 * rng.standard_normal(10)).astype(np.float32)
    found = sample_parity(answer, reference.astype(np.float32))
    error = answer.astype(np.float64) - reference.astype(np.float32)
    assert found.squared_error == pytest.approx(float(error @ error))
    assert found.max_abs == pytest.approx(abs(error).max())
    assert found.max_abs_reference == pytest.approx(abs(reference).max())
    assert (found.non_finite, found.top1, found.top5) == (0, True, True)


@pytest.mark.parametrize(
    ("answer", "reference", "top1", "top5"),
    [
        ([0, 4, 0], [0, 5, 0], True, True),
        ([3, 2, 0], [2, 3, 0], True, True),  # the two leaders are 1 apart, and so is the error
        ([3, 0, 0, 0, 0, 0], [0, 2, 1.9, 0, 0, 0], True, True),  # 0.1 apart under an error of 3
        ([2.6, 2.4, 0], [2, 3, 0], False, True),  # 1 apart, error 0.6
        ([6.1, 6.2, 6.3, 6.4, 6.5, 6], [0, 0, 0, 0, 0, 12], False, False),
    ],
)
def test_ranks_count_where_the_margin_exceeds_the_error(answer, reference, top1, top5):
    found = sample_parity(np.array(answer, np.float32), np.array(reference, np.float32))
    assert (found.top1, found.top5) == (top1, top5)


def test_nan_is_counted_and_has_no_rank():
    found = sample_parity(np.array([np.nan, 1.0, np.inf], np.float32), np.array([1.0, 1.0, 1.0], np.float32))
    assert (found.non_finite, found.top1, found.squared_error) == (2, None, 0.0)


def test_a_map_has_no_ranks():
    assert sample_parity(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)).top1 is None


def test_a_changed_bundle_is_not_measured(digits_copy):
    with (digits_copy / "swiftformer_digits-fp32.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArtifactError, match=r"changed swiftformer_digits-fp32\.onnx"):
        bench(digits_copy, plan=SMALL)


@pytest.mark.parametrize("what", ["renamed", "short", "no_artifact"])
def test_a_bundle_that_contradicts_itself(digits_copy, what):
    from swiftdeploy.bundle import attest, payload_records, tree_digest

    manifest = read_bundle(digits_copy).manifest
    if what == "no_artifact":
        for path in ARTIFACTS:
            shutil.rmtree(digits_copy / path) if path.endswith("mlpackage") else (digits_copy / path).unlink()
        manifest = dataclasses.replace(manifest, artifacts=(), placement=())
    else:
        name, shape = ("other", (4, 10)) if what == "renamed" else ("logits", (4, 9))
        save_arrays({name: np.ones(shape, np.float32)}, digits_copy / "golden" / "outputs.safetensors")
    files = payload_records(digits_copy)
    attest(digits_copy, dataclasses.replace(manifest, files=files, tree_sha256=tree_digest(files)))
    expected = {"renamed": "lacks logits", "short": "has shape", "no_artifact": "no artifact"}[what]
    with pytest.raises(ArtifactError, match=expected):
        bench(digits_copy, plan=SMALL)


def test_an_ort_twin_and_a_free_batch_are_measured(export_to):
    made = export_to(targets=("onnx",), precisions=("fp32",), dynamic_batch=True, ort=True, verify=False)
    found = bench(made.bundle, plan=SMALL, threads=1)
    assert [path.rsplit(".", 1)[1] for path in found.artifacts.values()] == ["onnx", "ort"]
    assert set(found.runtimes.values()) == {"ONNX Runtime"}
    assert [model.inputs[0].shape for model in found.measurement.plan.models] == [(1, 3, 32, 32)] * 2
