"""What an op costs, against the file's own bytes, the module's own sizes and published figures."""

import struct
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy import catalog
from swiftdeploy.placement.artifact import place
from swiftdeploy.placement.cost import make_cost


def blob_bytes(package):
    """The data that the weight file holds, by walking its headers: 64 bytes of metadata, then aligned data."""
    data = next(package.rglob("weight.bin")).read_bytes()
    (count,) = struct.unpack_from("<I", data)
    sizes, at = [], 64
    for _ in range(count):
        sentinel, _, size, start = struct.unpack_from("<IIQQ", data, at)
        assert sentinel == 0xDEADBEEF
        sizes.append(size)
        at = -(-(start + size) // 64) * 64
    return sum(sizes)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 32, 3, 2, 1)
        self.head = nn.Linear(64, 20)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.head(x.reshape(1, 128, 64))


@pytest.fixture
def package(ct, convert):
    example = torch.rand(1, 16, 32, 32)
    inputs = [ct.TensorType(name="x", shape=example.shape, dtype=np.float16)]
    return convert(Net(), example, half=True, ios=18, inputs=inputs)


def test_every_op_by_hand(package):
    record, ops = place(package)
    found = {op.type: op.cost for op in ops}
    x, y, z = 16 * 32 * 32 * 2, 32 * 16 * 16 * 2, 128 * 20 * 2
    weight, head = 32 * 16 * 9 * 2 + 32 * 2, 20 * 64 * 2 + 20 * 2
    assert found["conv"] == make_cost(macs=32 * 16 * 16 * 16 * 9, weight_bytes=weight, activation_bytes=x + y)
    assert found["relu"] == make_cost(macs=0, weight_bytes=0, activation_bytes=2 * y)
    assert found["reshape"] == make_cost(macs=0, weight_bytes=0, activation_bytes=2 * y)
    assert found["linear"] == make_cost(macs=128 * 20 * 64, weight_bytes=head, activation_bytes=y + z)
    assert record.cost.macs == sum(cost.macs for cost in found.values())
    assert record.cost.activation_bytes == sum(cost.activation_bytes for cost in found.values())
    assert record.cost.weight_bytes == weight + head == blob_bytes(package)
    moved = record.cost.weight_bytes + record.cost.activation_bytes
    assert record.cost.intensity == pytest.approx(record.cost.macs / moved, abs=1e-4)
    assert record.cost.unsized == 0


def quantized(cto, model, **settings):
    config = cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0, **settings)
    return cto.linear_quantize_weights(model, cto.OptimizationConfig(global_config=config))


def palettized(cto, model, bits):
    config = cto.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=0)
    return cto.palettize_weights(model, cto.OptimizationConfig(global_config=config))


def pruned(cto, model):
    config = cto.OpMagnitudePrunerConfig(target_sparsity=0.75, weight_threshold=0)
    return cto.prune_weights(model, cto.OptimizationConfig(global_config=config))


@pytest.mark.parametrize(
    ("compress", "least", "most"),
    [
        (lambda cto, model: quantized(cto, model, dtype="int8"), 0.5, 0.54),
        (lambda cto, model: quantized(cto, model, dtype="int4", granularity="per_block", block_size=16), 0.25, 0.3),
        (lambda cto, model: palettized(cto, model, 4), 0.25, 0.3),
        (lambda cto, model: palettized(cto, model, 6), 0.375, 0.43),
        (pruned, 0.3, 0.34),
    ],
    ids=["int8", "int4", "4 bits", "6 bits", "sparse"],
)
def test_compressed_weights_count_as_they_lie_on_disk(ct, package, tmp_path, compress, least, most):
    dense, _ = place(package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools.optimize.coreml as cto

        compress(cto, ct.models.MLModel(str(package), skip_model_load=True)).save(str(tmp_path / "packed.mlpackage"))
    record, ops = place(tmp_path / "packed.mlpackage")
    assert least <= record.cost.weight_bytes / dense.cost.weight_bytes <= most
    assert record.cost.weight_bytes == pytest.approx(blob_bytes(tmp_path / "packed.mlpackage"), abs=200)
    assert (record.cost.macs, record.cost.activation_bytes) == (dense.cost.macs, dense.cost.activation_bytes)
    assert [op.type for op in ops if op.cost.weight_bytes] == ["conv", "linear"]
    assert not any("constexpr" in op.type for op in ops)


@pytest.mark.parametrize("compress", [lambda cto, model: palettized(cto, model, 4), pruned], ids=["4 bits", "sparse"])
def test_how_a_weight_is_unpacked_is_no_weight(ct, convert, tmp_path, compress):
    """For iOS 16 the ops that unpack are told the shape, which is no byte of what a run reads."""
    inputs = [ct.TensorType(name="x", shape=(1, 16, 32, 32), dtype=np.float16)]
    package = convert(Net(), torch.rand(1, 16, 32, 32), half=True, ios=16, inputs=inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools.optimize.coreml as cto

        compress(cto, ct.models.MLModel(str(package), skip_model_load=True)).save(str(tmp_path / "packed.mlpackage"))
    cost = place(tmp_path / "packed.mlpackage")[0].cost
    assert cost.weight_bytes == blob_bytes(tmp_path / "packed.mlpackage")


def test_a_shared_weight_counts_once_in_the_total(save):
    def graph(mb, a):
        weight = np.ones((64, 64), np.float16)
        shared = mb.const(val=weight)
        return mb.linear(x=mb.linear(x=a, weight=shared), weight=shared)

    record, ops = place(save(graph, [np.ones((1, 64), np.float16)], ios=16))
    assert [op.cost.weight_bytes >= 64 * 64 * 2 for op in ops] == [True, True]
    assert record.cost.weight_bytes < 2 * 64 * 64 * 2


def test_a_tensor_that_an_op_reads_twice_is_read_once(save):
    size = 8 * 64 * 2
    _, ops = place(save(lambda mb, a: mb.mul(x=a, y=a), [np.ones((8, 64), np.float16)], ios=16))
    assert [op.cost.activation_bytes for op in ops] == [2 * size]
    _, ops = place(save(lambda mb, a: mb.matmul(x=a, y=a, transpose_y=True), [np.ones((8, 64), np.float16)], ios=16))
    assert [op.cost.activation_bytes for op in ops] == [size + 8 * 8 * 2]


def test_an_epsilon_is_no_weight(save):
    def norm(mb, a):
        gain = np.full(64, 2, np.float16)
        return mb.layer_norm(x=a, axes=[-1], gamma=gain, beta=gain, epsilon=np.float16(1e-3))

    _, ops = place(save(norm, [np.ones((8, 64), np.float16)], ios=16))
    assert [op.cost.weight_bytes for op in ops] == [2 * 64 * 2]


def test_sizes_that_only_a_run_knows_are_said_so(ct, convert):
    shape = ct.Shape((1, 3, ct.RangeDim(4, 32, default=8), 8))
    package = convert(nn.Conv2d(3, 2, 3), torch.ones(1, 3, 8, 8), inputs=[ct.TensorType(name="x", shape=shape)])
    record, ops = place(package)
    assert record.cost.unsized == len(ops) == 1
    assert (record.cost.macs, record.cost.activation_bytes) == (0, 0)
    assert record.cost.weight_bytes == 2 * 27 * 4 + 2 * 4


def test_swiftformer_xs_costs_what_the_paper_and_both_files_say(written):
    """Three counts of one network at 224 px: on the module, from the package, from the ONNX file.

    Fusing makes one of the module's two heads, each 220 x 1000: the files lack one.
    """
    of = ("swiftformer_xs", 224, ("attention", "token_l2"))
    package, _ = place(written("coreml", "fp16", of=of))
    model, _ = place(written("onnx", "fp16", of=of))
    assert (package.cost.macs + 220_000) / 1e6 == pytest.approx(602.43, abs=0.01)
    assert package.cost.macs + 220_000 == catalog.find("swiftformer_xs").macs
    assert model.cost == package.cost
    # Two bytes a parameter. Norms and layer scales are folded away, which is less than a hundredth.
    kept = catalog.find("swiftformer_xs").parameters - 221_000
    assert package.cost.weight_bytes == pytest.approx(2 * kept, rel=0.01)


def test_an_empty_program_has_no_intensity():
    assert make_cost(macs=0, weight_bytes=0, activation_bytes=0).intensity == 0.0
