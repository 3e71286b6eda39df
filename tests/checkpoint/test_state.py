"""Prefixes and untouched norms: pure functions over mappings of tensors."""

import pytest
import torch
from torch import nn

from swiftdeploy.checkpoint.state import sound, strip_prefixes, unwrap
from swiftdeploy.checkpoint.untouched import untouched_norms
from swiftdeploy.errors import CheckpointError


@pytest.mark.parametrize(
    ("keys", "stripped", "removed"),
    [
        (["a", "b"], ["a", "b"], ""),
        (["module.a", "module.b"], ["a", "b"], "module."),
        (["module._orig_mod.a"], ["a"], "module._orig_mod."),
        (["module.a", "b"], ["module.a", "b"], ""),
        (["model.a", "module.b"], ["model.a", "module.b"], ""),
        (["modules.a"], ["modules.a"], ""),
        ([], [], ""),
    ],
)
def test_prefixes(keys, stripped, removed):
    stages = strip_prefixes({key: torch.zeros(1) for key in keys})
    assert (list(stages[0][0]), stages[0][1]) == (keys, "")
    assert (list(stages[-1][0]), stages[-1][1]) == (stripped, removed)
    assert len(stages) == 1 + removed.count(".")


def test_a_flat_state_dict_is_not_searched_for_containers():
    """A module may have parameters beside a child called model; the tensors on top are the weights."""
    flat = {"weight": torch.zeros(1), "model": {"inner": torch.zeros(1)}}
    inner, notes = unwrap(flat, "c")
    assert inner is flat
    assert notes == ()
    assert sound(flat, "c")[1] == ("model",)


def test_model_is_chosen_over_its_moving_average():
    document = {"model_ema": {"a": torch.ones(1)}, "model": {"a": torch.zeros(1)}}
    assert unwrap(document, "c")[0] is document["model"]


def test_sound_copies():
    original = torch.arange(6.0).reshape(2, 3)
    copy = sound({"a": original.T}, "c")[0]["a"]
    assert copy.is_contiguous()
    original.zero_()
    assert float(copy.sum()) == 15


def test_sound_refuses_tensors_on_no_device():
    with pytest.raises(CheckpointError, match="no float module"):
        sound({"a": torch.empty(1, device="meta")}, "c")


def norms(count=2):
    return nn.Sequential(*[nn.BatchNorm2d(3) for _ in range(count)])


def test_new_norms_are_untouched():
    assert untouched_norms(norms().state_dict()) == (("0", "1"), 2)


@pytest.mark.parametrize(
    "touch",
    [
        lambda norm: norm(torch.randn(2, 3, 4, 4)),
        lambda norm: norm.running_mean.fill_(1e-7),
        lambda norm: norm.running_var.mul_(1.0001),
        lambda norm: norm.num_batches_tracked.add_(1),
    ],
)
def test_any_trace_of_training_counts(touch):
    module = norms()
    touch(module[0])
    assert untouched_norms(module.state_dict()) == (("1",), 2)


def test_norms_without_counters_or_without_statistics():
    state = {key: value for key, value in norms(1).state_dict().items() if "num_batches" not in key}
    assert untouched_norms(state) == (("0",), 1)
    assert untouched_norms(nn.BatchNorm2d(3, track_running_stats=False).state_dict()) == ((), 0)
    assert untouched_norms(nn.LayerNorm(3).state_dict()) == ((), 0)
