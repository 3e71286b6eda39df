import hashlib
import os
import subprocess
import sys

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.optimize.coreml import decompress_weights
from torch import nn

from swiftdeploy import compress, console
from swiftdeploy.capture import freeze
from swiftdeploy.compress.plan import stored_bytes
from swiftdeploy.errors import ConversionError, DependencyError, UsageError
from swiftdeploy.mil import load_program
from swiftdeploy.recipe import Override, Recipe
from swiftdeploy.targets import coreml

# All schemes of a system at once, so that coremltools' passes run on top of each other as they will for a mixed recipe.
RECIPES = {
    16: Recipe(
        name="ios16",
        default="int8",
        smallest=500,
        overrides=(
            Override(weights="stem_weight", scheme="pal4"),
            Override(weights="wide_weight", scheme="sparse75"),
            Override(weights="narrow_weight", scheme="pal8"),
            Override(weights="head_weight", scheme="pal2"),
            Override(weights="small_weight", scheme="fp16"),
        ),
    ),
    18: Recipe(
        name="ios18",
        default="int4",
        smallest=500,
        overrides=(
            Override(weights="stem_weight", scheme="pal4g16"),
            Override(weights="wide_weight", scheme="sparse75+pal4"),
            Override(weights="depth_weight", scheme="pal3"),
            Override(weights="narrow_weight", scheme="sparse60+int8"),
            Override(weights="up_weight", scheme="pal6+int8"),
            Override(weights="small_weight", scheme="int8"),
        ),
    ),
}
OPS = {
    16: {"constexpr_affine_dequantize", "constexpr_lut_to_dense", "constexpr_sparse_to_dense"},
    18: {
        "constexpr_blockwise_shift_scale",
        "constexpr_lut_to_dense",
        "constexpr_sparse_to_dense",
        "constexpr_lut_to_sparse",
        "constexpr_sparse_blockwise_shift_scale",
    },
}


def compressed(source, destination, recipe):
    weights = compress.read_weights(source)
    plan = compress.plan_weights(weights, recipe)
    compress.compress(source, destination, plan, weights)
    return weights, plan


def digest(package):
    files = sorted(path for path in package.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.fixture(scope="module", params=[16, 18])
def made(request, package, tmp_path_factory):
    """(min_ios, uncompressed package, compressed package, weights, plan)."""
    path = tmp_path_factory.mktemp("made") / "net.mlpackage"
    return (
        request.param,
        package(request.param),
        path,
        *compressed(package(request.param), path, RECIPES[request.param]),
    )


def test_every_scheme_keeps_its_word(made):
    min_ios, before, after, weights, plan = made
    assert (
        compress.check_weights(after, weights, plan, compress.dense_weights(before), compress.dense_weights(after))
        == []
    )
    ops = {o.type for o in load_program(after).function.block.operations if o.type.startswith("constexpr")}
    assert ops == OPS[min_ios]


def test_the_runtime_decompresses_as_coremltools_does(made, inputs):
    """The package itself, by our kernels, against the package that coremltools decompressed: equal to the bit."""
    _, _, after, _, _ = made
    dense = after.with_name("dense.mlpackage")
    with console.quiet():
        decompress_weights(ct.models.MLModel(str(after), skip_model_load=True)).save(str(dense))
    dtype = load_program(after).inputs[0].dtype
    answers = [load_program(path).predict({"image": inputs.astype(dtype)}) for path in (after, dense)]
    assert np.array_equal(answers[0]["logits"], answers[1]["logits"])


def test_records_are_what_lies_in_the_file(made):
    min_ios, before, after, weights, plan = made
    records = compress.tensor_records(after, weights, plan, compress.dense_weights(after))
    assert [record.name for record in records] == [w.name for w in weights if w.name in plan.schemes]
    blobs = [p / "Data/com.apple.CoreML/weights/weight.bin" for p in (before, after)]
    saved = blobs[0].stat().st_size - blobs[1].stat().st_size
    claimed = sum(record.bytes_before - record.bytes_after for record in records)
    # Each array has 64 bytes of metadata and is padded to 64; a weight has four arrays at most.
    assert abs(saved - claimed) <= len(records) * 4 * 128
    for record, weight in zip(records, [w for w in weights if w.name in plan.schemes], strict=True):
        assert record.bytes_before == weight.value.nbytes
        predicted = stored_bytes(plan.schemes[record.name], record.shape, weight.output_axis)
        assert abs(predicted - record.bytes_after) <= 4 * 128 + 0.01 * record.bytes_before
        assert record.psnr_db is None or 5 < record.psnr_db < 90
    kept = compress.kept(weights, plan)
    assert [k.reason for k in kept] == (["the recipe keeps it in fp16"] if min_ios == 16 else [])


@pytest.mark.parametrize("percent", [50, 60, 90, 95])
def test_pruning_a_weight_of_more_values_than_fp16_counts(percent, tmp_path):
    torch.manual_seed(1)
    layer = torch.nn.Linear(300, 256, bias=False).eval().requires_grad_(False)
    before, after = tmp_path / "layer.mlpackage", tmp_path / "pruned.mlpackage"
    coreml.convert(freeze(layer, torch.zeros(1, 300), input_name="x"), before, precision="fp16", min_ios=16)
    weights, _ = compressed(before, after, Recipe(name=f"sparse{percent}", default=f"sparse{percent}"))
    half = layer.weight.half()
    border = half.abs().float().flatten().kthvalue(-(-percent * half.numel() // 100)).values
    found = compress.dense_weights(after)[weights[0].name]
    assert np.array_equal(found, torch.where(half.abs() > border, half, 0).numpy())
    assert weights[0].value.size > 65_504


def test_same_bytes_in_another_process(package, tmp_path):
    before, after = package(18), tmp_path / "first.mlpackage"
    compressed(before, after, RECIPES[18])
    (tmp_path / "recipe.toml").write_text(RECIPES[18].text())
    code = (
        "import sys; from pathlib import Path; from swiftdeploy import compress as c; "
        "from swiftdeploy.recipe import read_recipe; s, d, r = map(Path, sys.argv[1:]); w = c.read_weights(s); "
        "c.compress(s, d, c.plan_weights(w, read_recipe(r)), w)"
    )
    again = tmp_path / "net.mlpackage"
    environment = {**os.environ, "PYTHONHASHSEED": "11", "OMP_NUM_THREADS": "2"}
    line = [sys.executable, "-W", "ignore", "-c", code, str(before), str(again), str(tmp_path / "recipe.toml")]
    subprocess.run(line, check=True, capture_output=True, env=environment)
    assert digest(again) == digest(after)


class Shifted(nn.Module):
    """What GroupNorm ends with: a scale and an offset a channel, apart from any layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(24, 96, 3, padding=1)
        self.scale, self.offset = (nn.Parameter(torch.rand(1, 96, 1, 1)) for _ in range(2))

    def forward(self, x):
        return (torch.relu(self.layer(x)) * self.scale + self.offset).mean((2, 3))


def test_a_scale_and_an_offset_stay_what_they_are(tmp_path):
    """coremltools' pass that makes a batch_norm of them fails on fp16, and would hide two tensors from leg 3."""
    torch.manual_seed(0)
    program = freeze(Shifted().eval().requires_grad_(False), torch.zeros(1, 24, 8, 8), input_name="image")
    before, after = tmp_path / "net.mlpackage", tmp_path / "net-int8.mlpackage"
    coreml.convert(program, before, precision="fp16", min_ios=16)
    weights, plan = compressed(before, after, Recipe(name="int8", default="int8"))
    assert set(plan.schemes) == {"layer_weight"}
    plain, packed = compress.dense_weights(before), compress.dense_weights(after)
    assert compress.check_weights(after, weights, plan, plain, packed) == []
    assert {"scale", "offset"} <= set(packed)


def test_a_recipe_that_compresses_nothing(package, tmp_path):
    with pytest.raises(UsageError, match="huge compresses nothing here: it has"):
        compressed(package(16), tmp_path / "a.mlpackage", Recipe(name="huge", default="int8", smallest=10**9))
    assert not (tmp_path / "a.mlpackage").exists()


def test_what_coremltools_refuses_is_a_conversion_error(package, tmp_path):
    """Options refuse int4 for iOS 16 earlier; here nobody is left with a traceback of the converter."""
    with pytest.raises(ConversionError, match="coremltools cannot compress to int4"):
        compressed(package(16), tmp_path / "a.mlpackage", Recipe(name="int4", default="int4"))
    assert not (tmp_path / "a.mlpackage").exists()


def test_tables_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    compress.check_libraries(Recipe(name="int8", default="int8"))
    with pytest.raises(DependencyError, match="scikit-learn does not import") as caught:
        compress.check_libraries(Recipe(name="pal4", default="pal4"))
    assert caught.value.exit_code == 8
    assert "[compress]" in caught.value.hint
