"""From weights to the oracle: strict, trained, in eval mode, and with its provenance."""

import dataclasses
import sys

import pytest
import torch
from torch import nn

from swiftdeploy import catalog
from swiftdeploy.checkpoint import Checkpoint, build, build_untrained
from swiftdeploy.checkpoint.keys import KeyMismatchError
from swiftdeploy.errors import CheckpointError, ModelError, UsageError
from swiftdeploy.report import KeyReport
from swiftdeploy.spec import ModelSpec, Preprocessing

DIGITS = catalog.find("swiftformer_digits")


def checkpoint(state, **changes):
    plain = Checkpoint(state=state, source="c.pth", sha256="0" * 64, format="pytorch", notes=("a note",))
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own, in the working folder: own("code") -> its "module:factory" row."""

    def write(code, factory="make", name="user_net"):
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{code}\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return catalog.find(f"{name}:{factory}")

    yield write
    sys.modules.pop("user_net", None)


def test_the_oracle_computes_what_was_trained(digits, state):
    loaded = build(checkpoint(state), DIGITS, attention="token_l2")
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), digits(x))
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.arguments["num_classes"] == 7
    assert loaded.arguments["attention"] == "token_l2"
    assert loaded.preprocessing == DIGITS.preprocessing


def test_provenance(state):
    provenance = build(checkpoint(state, ignored=("n_averaged",)), DIGITS, attention="sum").provenance
    assert (provenance.weights, provenance.source, provenance.naming) == ("trained", "c.pth", "official")
    assert provenance.sha256 == "0" * 64
    assert provenance.conclusions[0] == "a note"
    assert any("'sum'" in line for line in provenance.conclusions)
    assert provenance.keys == KeyReport(loaded=len(state), ignored=("n_averaged",))


def test_the_two_generations_are_two_functions(state):
    x = torch.randn(2, 3, 64, 64)
    for key, value in state.items():
        if "layer_scale" in key:
            value.fill_(1.0)
    answers = [build(checkpoint(state), DIGITS, attention=a).module(x) for a in ("sum", "token_l2")]
    assert float((answers[0] - answers[1]).norm() / answers[0].norm()) > 0.01


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod.module.", "ema_model.module."])
def test_wrappers_prefixes(prefix, state):
    wrapped = {prefix + key: value for key, value in state.items()}
    provenance = build(checkpoint(wrapped), DIGITS, attention="sum").provenance
    assert provenance.keys.strict
    assert f"prefix '{prefix}' stripped from every key" in provenance.conclusions


def test_every_difference_is_reported(state, refused):
    del state["head.bias"], state["network.0.0.norm.weight"]
    state["surplus.weight"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(7, 95)
    error = refused(
        lambda: build(checkpoint(state), DIGITS, attention="sum"),
        KeyMismatchError,
        "c.pth does not fit swiftformer_digits",
        "2 missing, 1 unexpected, 1 mis-shaped",
        "head.weight: 7x95 in the checkpoint, 7x96 in the model",
    )
    assert set(error.keys.missing) == {"head.bias", "network.0.0.norm.weight"}
    assert error.keys.unexpected == ("surplus.weight",)
    assert len(error.keys.misshaped) == 1
    assert isinstance(error, CheckpointError)
    assert error.exit_code == 4


def test_weights_of_another_variant(state, refused):
    error = refused(lambda: build(checkpoint(state), catalog.find("swiftformer_xs"), attention="sum"), KeyMismatchError)
    assert len(error.keys.missing) > 10
    assert error.fact.count("network.") <= 2 * 10


def test_missing_batch_counters_are_no_difference(state):
    older = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    loaded = build(checkpoint(older), DIGITS, attention="sum")
    assert loaded.provenance.keys.strict
    assert loaded.provenance.keys.loaded == len(older)


def test_official_weights_need_the_generation(state, refused):
    refused(lambda: build(checkpoint(state), DIGITS), CheckpointError, "nothing in the weights tells")


def test_no_side_door_past_the_reader(state, refused):
    """The catalogued factory under its bare name keeps the reader, and with it the question of the generation."""
    bare = catalog.find("swiftdeploy_models.swiftformer:swiftformer_digits")
    refused(lambda: build(checkpoint(state), bare), CheckpointError, "nothing in the weights tells")
    assert build(checkpoint(state), bare, attention="sum").arguments["attention"] == "sum"


def test_attention_is_no_free_argument(state, refused):
    refused(
        lambda: build(checkpoint(state), DIGITS, attention="sum", arguments={"attention": "token_l2"}),
        UsageError,
        "no free argument",
    )
    refused(lambda: build(checkpoint(state), DIGITS, attention="softmax"), UsageError, "'softmax'")
    row = catalog.find("efficientnet_lite0")
    refused(lambda: build(checkpoint({}), row, attention="sum"), UsageError, "has no attention generation")


def test_untrained_weights_are_refused(refused):
    fresh = catalog.resolve(DIGITS.factory)().state_dict()
    error = refused(
        lambda: build(checkpoint(fresh), DIGITS, attention="sum"),
        CheckpointError,
        "c.pth was never trained",
        "18 of 18",
    )
    assert "--untrained" in error.hint


def test_one_layer_left_at_its_initialisation_is_refused(state, refused):
    norm = "network.4.1.linear.norm1"
    state[f"{norm}.running_mean"].zero_()
    state[f"{norm}.running_var"].fill_(1)
    build(checkpoint(state), DIGITS, attention="sum")
    state[f"{norm}.num_batches_tracked"].zero_()
    refused(lambda: build(checkpoint(state), DIGITS, attention="sum"), CheckpointError, "1 of 18", norm)


def test_half_precision_weights_are_widened(state):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    loaded = build(checkpoint(half), DIGITS, attention="sum")
    assert "weights stored as float16, computed in float32" in loaded.provenance.conclusions
    for key, value in loaded.module.state_dict().items():
        assert torch.equal(value, half[key].float() if value.is_floating_point() else half[key])


def test_values_beyond_fp32_are_refused(state, refused):
    state["head.bias"] = state["head.bias"].double()
    state["head.bias"][0] = 1e300
    refused(lambda: build(checkpoint(state), DIGITS, attention="sum"), CheckpointError, "head.bias exceeds fp32")


def test_other_channel_counts_get_a_matching_preprocessing(state):
    state["patch_embed.0.weight"] = state["patch_embed.0.weight"][:, :1]
    row = dataclasses.replace(DIGITS, preprocessing=Preprocessing(resize=32, crop=32, mean=(0.1, 0.2, 0.6)))
    loaded = build(checkpoint(state), row, attention="sum")
    assert loaded.preprocessing.mean == pytest.approx((0.3,))
    assert len(loaded.preprocessing.std) == 1
    assert any("1 channels is assumed" in line for line in loaded.provenance.conclusions)


SMALL = "def make(width=4):\n    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))"


def small(width=4):
    module = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))
    module(torch.randn(2, 3, 4, 4))
    return module.state_dict()


def test_a_users_own_model(own):
    row = own(SMALL)
    loaded = build(checkpoint(small()), row)
    assert loaded.provenance.naming == "module"
    assert loaded.provenance.keys.loaded == 7
    wide = build(checkpoint({f"module.{key}": value for key, value in small(8).items()}), row, arguments={"width": 8})
    assert wide.arguments == {"width": 8}
    assert wide.module[0].out_channels == 8


def test_a_users_own_model_is_not_adapted(own, refused):
    refused(lambda: build(checkpoint(small(8)), own(SMALL)), KeyMismatchError, "6 mis-shaped")


def test_a_child_named_like_a_prefix(own):
    row = own(
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.model = nn.Conv2d(3, 2, 1)\n"
        "def make():\n"
        "    return Net()"
    )
    state = nn.Conv2d(3, 2, 1).state_dict()
    for prefix in ("", "module.", "module._orig_mod."):
        provenance = build(checkpoint({f"{prefix}model.{key}": v for key, v in state.items()}), row).provenance
        assert provenance.keys.loaded == 2
        assert bool(prefix) == any("stripped" in line for line in provenance.conclusions)


def test_an_unused_norm_of_a_users_model_is_noted(own, refused):
    row = own("def make():\n    return nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))")
    module = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    refused(lambda: build(checkpoint(module.state_dict()), row), CheckpointError, "2 of 2 batch norms")
    module[0](torch.randn(2, 2, 3, 3))
    conclusions = build(checkpoint(module.state_dict()), row).provenance.conclusions
    assert "1 of 2 batch norms are as initialised: 1" in conclusions


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        ("def make():\n    raise RuntimeError('no')", "failed: RuntimeError: no"),
        ("def make(width):\n    return nn.Linear(1, width)", "failed: TypeError"),
        ("def make():\n    return 3", "returned a int"),
    ],
)
def test_factories_that_fail(code, fact, own, refused):
    row = own(code)
    refused(lambda: build(checkpoint(small()), row), ModelError, "user_net:make", fact)
    refused(lambda: build_untrained(row, 0), ModelError, fact)


def test_untrained_modules_are_seeded_and_say_so():
    before = torch.random.get_rng_state()
    first, again, other = (build_untrained(DIGITS, seed, attention="sum") for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    key = "network.0.0.pwconv1.weight"
    assert torch.equal(first.module.state_dict()[key], again.module.state_dict()[key])
    assert not torch.equal(first.module.state_dict()[key], other.module.state_dict()[key])
    provenance = first.provenance
    assert (provenance.weights, provenance.seed, provenance.source, provenance.sha256) == ("untrained", 3, "seed 3", "")
    assert first.arguments == {"attention": "sum"}
    assert not first.module.training
    assert build_untrained(DIGITS, 3, arguments={"num_classes": 4}).module.head.out_features == 4


def test_untrained_refuses_an_attention_that_the_model_lacks(refused):
    refused(lambda: build_untrained(catalog.find("mobilevitv2_050"), 0, attention="sum"), UsageError, "mobilevitv2_050")


def test_factories_in_half_precision_become_fp32_oracles(own):
    row = own("def make():\n    return nn.Linear(2, 2).half()")
    assert build(checkpoint(nn.Linear(2, 2).state_dict()), row).module.weight.dtype == torch.float32


def test_values_are_frozen(state):
    loaded = build(checkpoint(state), DIGITS, attention="sum")
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.module = None


def test_a_reader_of_the_users_own(own):
    """Any row may bring a reader; what it says is what is built."""
    row = own(
        "from swiftdeploy.spec import Reading, Preprocessing\n"
        "def make(width=1):\n    return nn.Linear(width, 1)\n"
        "def read(state, *, config, attention):\n"
        "    return Reading(naming='mine', state={'weight': state['w'], 'bias': state['b']}, arguments={'width': 3},\n"
        "                   conclusions=('read',), preprocessing=Preprocessing(resize=8, crop=8))"
    )
    row = dataclasses.replace(row, reader="user_net:read")
    assert isinstance(row, ModelSpec)
    loaded = build(checkpoint({"w": torch.ones(1, 3), "b": torch.ones(1)}), row)
    assert loaded.module.in_features == 3
    assert loaded.provenance.naming == "mine"
    assert loaded.preprocessing.crop == 8
