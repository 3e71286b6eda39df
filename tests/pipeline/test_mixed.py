"""Plain fp16 breaks three networks; auto mends each with the fewest ops. Oracle: the eager networks, and the packages
that coremltools writes with one op fewer in fp32."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from swiftdeploy import bundle
from swiftdeploy.errors import ParityError, UsageError
from swiftdeploy.mil import load_program
from swiftdeploy.pipeline import mixed as module
from swiftdeploy.pipeline.against import verify_against
from swiftdeploy.pipeline.conversion import to_coreml
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import load_subject, prepare
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.spec import ExportOptions

NETS = ("masked", "loud", "pooled")
SIZE = (32, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the networks in it, under a name of its own: imports are remembered."""
    folder = tmp_path_factory.mktemp("half")
    shutil.copy(Path(__file__).with_name("half_breaks.py"), folder / "half_breaks_here.py")
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def request_for(net, destination, **options):
    return ExportRequest(
        model=f"half_breaks_here:{net}",
        untrained=0,
        destination=destination,
        force=True,
        options=ExportOptions(**{"precisions": ("auto",), "input_size": SIZE, **options}),
    )


@pytest.fixture(scope="module")
def exported(folder):
    """exported(net) -> the result of its export with --precision auto, made once."""
    made = {}

    def get(net):
        if net not in made:
            made[net] = export(request_for(net, folder / "dist" / net))
        return made[net]

    return get


@pytest.mark.parametrize("net", NETS)
def test_plain_fp16_is_refused_and_auto_passes(exported, folder, net):
    with pytest.raises(ParityError):
        export(request_for(net, folder / "plain", precisions=("fp16",)))
    assert not (folder / "plain").exists()
    (artifact,) = exported(net).manifest.artifacts
    legs = {leg.name: leg for leg in artifact.parity.legs}
    assert legs["outputs"].verdict == "pass"
    assert legs["outputs"].outputs[0].psnr_db >= 50
    assert artifact.mixed.fp16_verdict == "fail"
    assert artifact.mixed.kept
    assert verify_bundle(exported(net).bundle).reports[0].verdict == "pass"


@pytest.mark.parametrize("net", NETS)
def test_the_written_package_answers_as_the_eager_network(exported, net):
    import half_breaks_here as nets

    torch.manual_seed(0)
    subject = load_subject(request_for(net, Path("unused")))
    image = torch.rand(1, 3, *SIZE) * 2 - 1
    assert isinstance(subject.oracle, type(getattr(nets, net)()))
    with torch.no_grad():
        expected = subject.oracle(image).numpy()
    program = load_program(exported(net).bundle / exported(net).manifest.artifacts[0].path)
    found = program.predict({"image": image.numpy()})["logits"].astype(np.float64)
    assert np.sqrt(np.mean((found - expected) ** 2)) <= np.abs(expected).max() * 10 ** (-50 / 20)


def test_the_ops_that_are_kept_are_those_that_leave_the_range(exported):
    kept = exported("loud").manifest.artifacts[0].mixed.kept
    assert sorted(op.op for op in kept) == ["add", "mul", "reduce_sum", "sqrt"]
    assert all("65504" in op.reason for op in kept)
    (reader,) = (op for op in kept if op.op == "sqrt")
    assert reader.reason.startswith("reads ")
    masked = exported("masked").manifest.artifacts[0].mixed.kept
    assert any("becomes infinite" in op.reason for op in masked)
    assert {op.op for op in masked} <= {"add", "softmax", "mul"}


@pytest.mark.parametrize("net", NETS)
def test_no_kept_op_can_go_back(exported, folder, net):
    """Converted and run for real with each of them in fp16 again: every one of these packages fails."""
    kept = [op.name for op in exported(net).manifest.artifacts[0].mixed.kept]
    subject = load_subject(request_for(net, folder / "unused"))
    pair = prepare(subject)
    for name in kept:
        work = folder / "spared"
        work.mkdir()
        verdicts = []
        for truth in (pair.real, pair.stress):
            package = to_coreml(subject, truth.built, work, f"net{len(verdicts)}", "auto", keep=set(kept) - {name})
            leg = module.parity.outputs_leg("outputs", module.coreml.open_package(package), truth, precision="auto")
            verdicts.append(leg.verdict)
        shutil.rmtree(work)
        assert verdicts[0] != "pass" or verdicts[1] == "fail", name


def test_what_the_manifest_says_is_what_the_package_computes(exported):
    result = exported("loud")
    (artifact,) = result.manifest.artifacts
    program = load_program(result.bundle / artifact.path)
    single = {
        op.name
        for op in program.function.block.operations
        if op.type not in ("const", "cast") and op.outputs[0].type.dtype == "fp32"
    }
    assert single == {op.name for op in artifact.mixed.kept}
    assert artifact.bytes > artifact.mixed.fp16_bytes
    assert program.inputs[0].dtype == "float16"


def test_auto_of_a_sound_model_is_plain_fp16(export_to):
    result = export_to(precisions=("auto", "fp16"))
    auto, half = result.manifest.artifacts
    assert auto.mixed.kept == ()
    assert (auto.mixed.fp16_verdict, auto.mixed.trials) == ("pass", 0)
    assert auto.ops == half.ops
    assert auto.sha256 == half.sha256
    assert half.mixed is None
    assert verify_bundle(result.bundle).reports[0].precision == "auto"


def test_a_bundle_of_auto_verifies_against_its_checkpoint_alone(export_to, digits):
    result = export_to(precisions=("auto",))
    checked = verify_against(
        result.bundle, str(digits / "swiftformer_digits.pth"), model=None, attention=None, images=None
    )
    assert [leg.name for leg in checked.reports[0].legs] == ["outputs", "weights"]


def test_two_searches_give_the_same_bytes(exported, folder):
    again = export(request_for("loud", folder / "again"))
    assert bundle.artifact_digest(again.bundle / again.manifest.artifacts[0].path) == (
        bundle.artifact_digest(exported("loud").bundle / exported("loud").manifest.artifacts[0].path)
    )
    assert json.loads((again.bundle / "manifest.json").read_text()) == json.loads(
        (exported("loud").bundle / "manifest.json").read_text()
    )


def test_a_weight_of_a_kept_op_is_stored_whole_and_any_other_once_rounded(folder):
    subject = load_subject(request_for("loud", folder / "unused"))
    pair = prepare(subject)
    names = [name for name in pair.real.built.program.origins if "conv2d" in name]
    work = folder / "weights"
    work.mkdir()
    package = to_coreml(subject, pair.real.built, work, "net", "auto", keep=names[:1])
    tensors = module.coreml.open_package(package).tensors()
    dtypes = {name: str(value.dtype) for name, value in tensors.items() if value.ndim == 4}
    assert dtypes["stem_0_weight"] == "float32"
    assert {dtype for name, dtype in dtypes.items() if name != "stem_0_weight"} == {"float16"}
    leg = module.parity.weights_leg(module.coreml.open_package(package), pair.real.built, precision="auto")
    assert leg.verdict == "pass"
    # Rounded where it claims to be whole, a weight is refused.
    rounded = {**tensors, "stem_0_weight": tensors["stem_0_weight"].astype(np.float16).astype(np.float32)}
    found = module.compare.weights(pair.real.built.constants, rounded, precision="auto")
    assert any(problem.startswith("stem_0_weight") for problem in found.problems)


def test_auto_needs_its_verification():
    with pytest.raises(UsageError, match="found by verifying"):
        ExportOptions(precisions=("auto",), verify=False)
