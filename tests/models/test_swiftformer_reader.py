"""Every naming of every variant is read, and the attention generation is never guessed."""

import pytest
import torch
from swiftdeploy_models import swiftformer
from swiftdeploy_models.swiftformer_reader import read

from swiftdeploy.errors import CheckpointError

VARIANTS = ("xs", "s", "l1", "l3")
NAMINGS = {"official": None, "hf": "sum", "timm": "token_l2"}
HF_CONFIG = {"model_type": "swiftformer", "architectures": ["SwiftFormerForImageClassification"]}
TIMM_CONFIG = {"architecture": "swiftformer_xs", "num_classes": 1000, "pretrained_cfg": {"crop_pct": 0.9}}


@pytest.fixture
def official(stress):
    return stress(swiftformer.swiftformer_digits(num_classes=7)).state_dict()


def decayed(state, factor=1e-3):
    generator = torch.Generator().manual_seed(4)
    return {
        key: factor * torch.randn(value.shape, generator=generator) if key.endswith("attn.w_g") else value
        for key, value in state.items()
    }


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_and_naming(variant, naming, digest, reference_keys, renamed):
    with torch.device("meta"):
        module = getattr(swiftformer, f"swiftformer_{variant}")()
    state = renamed(module.state_dict(), naming)
    assert digest(state) == reference_keys[f"swiftformer_{variant}"][naming]
    # The evidence needs values; w_g alone gets some.
    state = {key: torch.randn(value.shape) if key.endswith("w_g") else value for key, value in state.items()}
    reading = read(state, config=None, attention=NAMINGS[naming] or "token_l2")
    assert reading.naming == naming
    assert digest(reading.state) == reference_keys[f"swiftformer_{variant}"]["official"]
    assert reading.arguments == {
        "features": False,
        "distillation": True,
        "num_classes": 1000,
        "in_channels": 3,
        "attention": NAMINGS[naming] or "token_l2",
    }


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_tensor_keeps_its_value(naming, official, renamed):
    reading = read(renamed(official, naming), config=None, attention=NAMINGS[naming] or "sum")
    assert set(reading.state) == set(official)
    assert all(reading.state[key] is value for key, value in official.items())


@pytest.mark.parametrize(("naming", "generation"), [("hf", "sum"), ("timm", "token_l2")])
def test_provenance_decides(naming, generation, official, renamed):
    state = renamed(official, naming)
    reading = read(state, config=None, attention=None)
    assert reading.arguments["attention"] == generation
    assert generation in reading.conclusions[0]
    assert read(state, config=None, attention=generation).arguments["attention"] == generation
    wrong = {"sum": "token_l2", "token_l2": "sum"}[generation]
    with pytest.raises(CheckpointError, match=f"{generation}.*not '{wrong}'") as caught:
        read(state, config=None, attention=wrong)
    assert "leave --attention out" in caught.value.hint


def test_official_names_do_not_tell(official):
    with pytest.raises(CheckpointError, match="nothing in the weights tells") as caught:
        read(official, config=None, attention=None)
    assert "--attention token_l2" in caught.value.hint
    assert "--attention sum" in caught.value.hint


@pytest.mark.parametrize("generation", ["sum", "token_l2"])
def test_the_user_says_it(generation, official):
    reading = read(official, config=None, attention=generation)
    assert reading.arguments["attention"] == generation
    assert "so said the user" in reading.conclusions[0]
    assert reading.preprocessing is None


def test_an_unknown_generation_is_refused(official):
    with pytest.raises(CheckpointError, match="not known"):
        read(official, config=None, attention="softmax")


def test_decayed_w_g_decides_for_sum(official):
    reading = read(decayed(official), config=None, attention=None)
    assert reading.arguments["attention"] == "sum"
    assert "weight decay alone" in reading.conclusions[0]
    assert read(decayed(official), config=None, attention="sum").arguments["attention"] == "sum"


def test_decayed_w_g_contradicts_token_l2(official, renamed):
    with pytest.raises(CheckpointError, match="contradicts the weights"):
        read(decayed(official), config=None, attention="token_l2")
    with pytest.raises(CheckpointError, match="trained as 'sum'"):
        read(renamed(decayed(official), "timm"), config=None, attention=None)


def test_an_initialisation_is_no_evidence(official):
    with pytest.raises(CheckpointError, match="nothing in the weights tells"):
        read(decayed(official, factor=1.0), config=None, attention=None)


@pytest.mark.parametrize(("config", "generation"), [(HF_CONFIG, "sum"), (TIMM_CONFIG, "token_l2")])
def test_a_config_beside_official_names_is_provenance(config, generation, official):
    assert read(official, config=config, attention=None).arguments["attention"] == generation


@pytest.mark.parametrize(("naming", "config"), [("hf", TIMM_CONFIG), ("timm", HF_CONFIG)])
def test_a_config_of_someone_else_is_refused(naming, config, official, renamed):
    with pytest.raises(CheckpointError, match="but the config beside them"):
        read(renamed(official, naming), config=config, attention=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_act", "relu"), ("batch_norm_eps", 1e-3), ("down_stride", 4), ("use_layer_scale", False)],
)
def test_a_config_of_another_function_is_refused(field, value, official, renamed):
    with pytest.raises(CheckpointError, match=field):
        read(renamed(official, "hf"), config={**HF_CONFIG, field: value}, attention=None)


def test_two_namings_or_none_are_refused(official, renamed):
    mixed = {**official, **renamed(official, "timm")}
    with pytest.raises(CheckpointError, match="more than one SwiftFormer naming"):
        read(mixed, config=None, attention="sum")
    with pytest.raises(CheckpointError, match=r"no SwiftFormer naming .*conv1\.weight"):
        read({"conv1.weight": torch.zeros(1)}, config=None, attention="sum")
    with pytest.raises(CheckpointError, match="first key: none"):
        read({}, config=None, attention="sum")


def test_arguments_come_from_the_weights(stress):
    state = stress(swiftformer.swiftformer_digits(num_classes=5, in_channels=1, distillation=False)).state_dict()
    arguments = read(state, config=None, attention="sum").arguments
    assert (arguments["num_classes"], arguments["in_channels"], arguments["distillation"]) == (5, 1, False)
    state = stress(swiftformer.swiftformer_digits(features=True)).state_dict()
    arguments = read(state, config=None, attention="sum").arguments
    assert arguments == {"features": True, "in_channels": 3, "attention": "sum"}
    swiftformer.swiftformer_digits(**arguments).load_state_dict(state, strict=True)


def test_preprocessing_follows_provenance(official, renamed):
    hf = read(renamed(official, "hf"), config=HF_CONFIG, attention=None).preprocessing
    assert (hf.squash, hf.resize, hf.crop, hf.interpolation) == (True, 224, 224, "bilinear")
    timm = read(renamed(official, "timm"), config=None, attention=None).preprocessing
    assert (timm.squash, timm.resize, timm.crop, timm.interpolation) == (False, 235, 224, "bicubic")
    assert read(renamed(official, "timm"), config=TIMM_CONFIG, attention=None).preprocessing.resize == 248
