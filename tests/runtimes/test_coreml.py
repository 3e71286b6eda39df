import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError
from swiftdeploy.runtimes import coreml, open_artifact


@pytest.fixture
def runtime(written):
    return open_artifact(written("coreml", "fp16"))


def test_what_a_package_says_of_itself(runtime):
    assert [(i.name, i.shape, i.dtype) for i in runtime.inputs] == [("image", (1, 3, 32, 32), "float16")]
    assert runtime.outputs == ("logits",)
    assert not runtime.image


def test_floats_come_back_as_float32(runtime, network):
    found = runtime.run({"image": network("tiny", 32).images[:1].numpy()})
    assert found["logits"].dtype == np.float32
    assert found["logits"].shape == (1, 10)


def test_a_run_changes_nothing(runtime, network):
    image = network("tiny", 32).images[:1].numpy()
    kept = image.copy()
    first, second = (runtime.run({"image": image})["logits"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, kept)


def test_every_value_is_seen_in_order(runtime, network):
    image = network("tiny", 32).images[:1].numpy()
    seen = runtime.intermediates({"image": image})
    counts = runtime.op_counts()
    assert len([op for _, op, _ in seen if op in counts]) >= sum(counts.values())
    name, op, last = seen[-1]
    assert (name, op) == ("logits", "linear")
    np.testing.assert_array_equal(last.astype(np.float32), runtime.run({"image": image})["logits"])
    assert [op for _, op, _ in seen if op == "conv"] == ["conv"] * counts["conv"]


def test_weights_carry_the_names_of_the_checkpoint(runtime):
    names = set(runtime.tensors())
    assert {"head_weight", "head_bias", "patch_embed_0_weight", "network_0_0_attn_to_query_weight"} <= names
    assert not any(name.endswith(("_to_fp16", "_cast_fp16")) for name in names)


def test_a_label_that_contradicts_its_probabilities_is_refused():
    right = {"classLabel": "b", "classLabel_probs": {"a": 0.25, "b": 0.75}}
    assert coreml._tensors(right)["classLabel_probs"].tolist() == [[0.25, 0.75]]
    with pytest.raises(ArtifactError, match="says 'a', its probabilities say 'b'"):
        coreml._tensors({**right, "classLabel": "a"})
    tie = {"classLabel": "b", "classLabel_probs": {"a": 0.5, "b": 0.5}}
    assert coreml._tensors(tie)["classLabel_probs"].tolist() == [[0.5, 0.5]]


def test_a_damaged_package_is_an_error_of_one_line(written, tmp_path):
    import shutil

    path = tmp_path / "m.mlpackage"
    shutil.copytree(written("coreml", "fp16"), path)
    weights = next(path.rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path)
    assert "\n" not in caught.value.fact
