"""All four SwiftFormers, both generations, three namings: every checkpoint loads to the same network and fuses exactly.

The checkpoints are stress weights under the key names of the official repository, of Hugging Face and of timm. These
names are held against the projects' own key lists in tests/models; here the files go through the whole pipeline.
"""

import re

import pytest
import torch
from safetensors.torch import save_file
from swiftdeploy_models import swiftformer

from swiftdeploy.errors import CheckpointError
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import load_subject, truth_of
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.spec import ExportOptions

VARIANTS = ("swiftformer_xs", "swiftformer_s", "swiftformer_l1", "swiftformer_l3")
NAMINGS = {"official": ("sum", "token_l2"), "hf": ("sum",), "timm": ("token_l2",)}
SIDE = (64, 64)
# Each variant, generation, naming, target and precision goes all the way at least once. Where the three legs are left
# out, for their time, the written bundle is still verified against the oracle's golden answers.
FULL = [
    ("swiftformer_xs", "official", "token_l2", {"targets": ("coreml", "onnx")}),
    ("swiftformer_s", "hf", "sum", {"targets": ("coreml",), "verify": False}),
    ("swiftformer_l1", "timm", "token_l2", {"targets": ("onnx",), "verify": False}),
    ("swiftformer_l3", "official", "sum", {"targets": ("onnx",), "precisions": ("fp32",), "verify": False}),
]


def official(variant, attention):
    """A state dict that looks trained: statistics, layer scales and attention vectors all away from their defaults."""
    torch.manual_seed(len(variant))
    module = getattr(swiftformer, variant)(attention=attention, num_classes=11)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            leaf = key.rsplit(".", 1)[-1]
            if leaf == "num_batches_tracked":
                value.fill_(100)
            elif leaf == "running_var" or "layer_scale" in key or (value.dim() == 1 and leaf == "weight"):
                value.copy_(torch.rand(value.shape, generator=generator) * 0.4 + 0.6)
            elif value.dim() == 1:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
            elif leaf == "w_g":
                value.copy_(torch.randn(value.shape, generator=generator))
            else:
                value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
    return module.eval()


def hf_name(key):
    key = (
        key.replace(".dwconv.", ".depth_wise_conv.").replace(".pwconv", ".point_wise_conv").replace(".Proj.", ".proj.")
    )
    key = key.replace("patch_embed.", "swiftformer.patch_embed.patch_embedding.")
    return re.sub(r"^network\.(\d)\.(\d+\.)?", lambda m: f"swiftformer.encoder.network.{m[1]}.{blocks(m[2])}", key)


def blocks(index):
    return f"blocks.{index}" if index else ""


def timm_name(key):
    key = key.replace(".Proj.", ".proj.").replace("patch_embed.", "stem.").replace("dist_head.", "head_dist.")
    key = re.sub(r"(layer_scale(_\d)?)$", r"\1.gamma", key)
    return re.sub(
        r"^network\.(\d)\.",
        lambda m: f"stages.{(int(m[1]) + 1) // 2}.{'downsample' if int(m[1]) % 2 else 'blocks'}.",
        key,
    )


def write(module, naming, folder):
    rename = {"official": str, "hf": hf_name, "timm": timm_name}[naming]
    state = {rename(key): value.contiguous() for key, value in module.state_dict().items()}
    if naming == "official":
        torch.save({"model": state, "epoch": 299}, folder / "weights.pth")
        return str(folder / "weights.pth")
    save_file(state, folder / f"{naming}.safetensors")
    return str(folder / f"{naming}.safetensors")


def ask(variant, checkpoint, attention, folder, **options):
    return ExportRequest(
        model=variant,
        checkpoint=checkpoint,
        attention=attention,
        destination=folder / "bundle",
        options=ExportOptions(input_size=SIDE, **options),
    )


@pytest.mark.parametrize("attention", ["sum", "token_l2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_naming_is_the_same_network_and_fuses(tmp_path, variant, attention):
    module = official(variant, attention)
    images = torch.randn(2, 3, *SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(images)
    loaded = {}
    for naming, generations in NAMINGS.items():
        if attention not in generations:
            continue
        said = attention if naming == "official" else None  # the other names say it themselves
        subject = load_subject(ask(variant, write(module, naming, tmp_path), said, tmp_path))
        loaded[naming] = subject
        assert subject.loaded.provenance.naming == naming
        assert subject.loaded.arguments["attention"] == attention
        assert subject.loaded.provenance.keys.strict
        with torch.no_grad():
            assert torch.equal(subject.oracle(images), expected)
    assert len(loaded) == 2
    subject = loaded["official"]
    truth = truth_of(subject, subject.oracle, subject.samples)
    report = parity.fusion_report(truth)
    assert report.verdict == "pass", report
    assert {record.name: len(record.fired) for record in truth.built.ledger}["additive_attention"] == 4
    assert {"expand", "permute", "transpose"}.isdisjoint(truth.built.ops_after)


@pytest.mark.parametrize(("variant", "naming", "attention", "options"), FULL)
def test_all_the_way(tmp_path, variant, naming, attention, options):
    checkpoint = write(official(variant, attention), naming, tmp_path)
    said = attention if naming == "official" else None
    result = export(ask(variant, checkpoint, said, tmp_path, **options))
    manifest = result.manifest
    assert (manifest.model.attention, manifest.provenance.naming) == (attention, naming)
    assert {a.parity.verdict for a in manifest.artifacts if a.parity} <= {"pass"}
    assert {"tile", "transpose", "reshape", "expand_dims"}.isdisjoint(manifest.artifacts[0].ops)
    engines = [record.neural_engine for record in manifest.placement if record.neural_engine is not None]
    assert len(engines) == sum(a.target == "coreml" for a in manifest.artifacts)
    assert all(engine.ops["ineligible"] == engine.severities["error"] == 0 for engine in engines)
    assert {report.verdict for report in verify_bundle(result.bundle).reports} == {"pass"}


@pytest.mark.parametrize(("naming", "attention"), [("hf", "token_l2"), ("timm", "sum")])
def test_names_that_know_their_generation_are_not_overruled(tmp_path, naming, attention):
    module = official("swiftformer_xs", "sum")
    with pytest.raises(CheckpointError, match=attention):
        load_subject(ask("swiftformer_xs", write(module, naming, tmp_path), attention, tmp_path))


def test_official_names_need_the_users_word(tmp_path):
    checkpoint = write(official("swiftformer_xs", "sum"), "official", tmp_path)
    with pytest.raises(CheckpointError, match="two SwiftFormer generations") as caught:
        load_subject(ask("swiftformer_xs", checkpoint, None, tmp_path))
    assert "--attention" in caught.value.hint


def test_another_variants_weights(tmp_path):
    checkpoint = write(official("swiftformer_s", "sum"), "official", tmp_path)
    with pytest.raises(CheckpointError):
        load_subject(ask("swiftformer_xs", checkpoint, "sum", tmp_path))
