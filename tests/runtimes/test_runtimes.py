from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.runtimes import DYNAMIC_BATCH, open_artifact, run_samples
from swiftdeploy.spec import TensorSpec


@dataclass
class Sums:
    """Answers with each sample's sum and its negative, and remembers the batches that it saw."""

    batch: int
    seen: list = field(default_factory=list)

    @property
    def inputs(self):
        return (TensorSpec(name="image", shape=(self.batch, 1, 2, 2)),)

    def run(self, inputs):
        (name, chunk), *rest = inputs.items()
        assert (name, rest) == ("image", [])
        self.seen.append(len(chunk))
        total = chunk.sum(axis=(1, 2, 3))
        return MappingProxyType({"sum": total[:, None], "negative": -total[:, None]})


@pytest.mark.parametrize(
    ("batch", "count", "batches"),
    [
        (1, 3, [1, 1, 1]),
        (2, 4, [2, 2]),
        (2, 3, [2, 2]),
        (4, 3, [4]),
        (8, 1, [8]),
        (0, 7, [DYNAMIC_BATCH, DYNAMIC_BATCH, 1]),
        (0, 2, [2]),
    ],
)
def test_batches_are_filled_up_and_what_fills_them_is_dropped(batch, count, batches):
    runtime = Sums(batch)
    samples = np.random.default_rng(0).standard_normal((count, 1, 2, 2)).astype(np.float32)
    found = run_samples(runtime, samples)
    assert runtime.seen == batches
    np.testing.assert_allclose(found["sum"][:, 0], samples.sum(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(found["negative"], -found["sum"])


@pytest.mark.parametrize("name", ["m.txt", "m", "m.mlmodel", "m.pt"])
def test_other_files_are_no_artifacts(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="is no artifact"):
        open_artifact(tmp_path / name)


@pytest.mark.parametrize("name", ["m.onnx", "m.ort", "m.mlpackage"])
def test_what_is_not_there_is_an_error_of_one_line(tmp_path, name):
    with pytest.raises(ArtifactError) as caught:
        open_artifact(tmp_path / name)
    assert name in caught.value.fact
    assert "\n" not in caught.value.fact + caught.value.hint


@pytest.mark.parametrize("name", ["m.onnx", "m.ort"])
def test_a_damaged_file_is_an_error_of_one_line(written, tmp_path, name):
    whole = written("onnx", "fp32").read_bytes()
    for damaged in (b"", b"junk", whole[: len(whole) // 2]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match="does not load in ONNX Runtime"):
            open_artifact(tmp_path / name)
