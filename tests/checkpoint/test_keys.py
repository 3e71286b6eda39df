"""The strict comparison, one difference at a time."""

import pytest
import torch

from swiftdeploy.checkpoint.keys import KeyMismatchError, compare, require_strict

EXPECTED = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "n.num_batches_tracked": torch.tensor(0)}


@pytest.mark.parametrize(
    ("found", "strict", "loaded"),
    [
        (EXPECTED, True, 3),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, True, 2),
        ({"a": torch.zeros(2, 3)}, False, 1),
        ({**EXPECTED, "c": torch.zeros(1)}, False, 3),
        ({**EXPECTED, "a": torch.zeros(3, 2)}, False, 2),
        ({**EXPECTED, "b": torch.zeros(4, 1)}, False, 2),
        ({}, False, 0),
    ],
)
def test_differences(found, strict, loaded):
    report = compare(EXPECTED, found)
    assert (report.strict, report.loaded) == (strict, loaded)
    if strict:
        require_strict(report, source="c", model="m")
    else:
        with pytest.raises(KeyMismatchError) as caught:
            require_strict(report, source="c", model="m")
        assert caught.value.keys is report


def test_the_message_shows_at_most_ten_and_the_report_all():
    report = compare({f"k{n}": torch.zeros(1) for n in range(50)}, {f"z{n}": torch.zeros(1) for n in range(40)})
    with pytest.raises(KeyMismatchError, match="50 missing, 40 unexpected keys") as caught:
        require_strict(report, source="c.pth", model="net")
    assert sum(caught.value.fact.count(f" {letter}") for letter in "kz") <= 12
    assert (len(report.missing), len(report.unexpected)) == (50, 40)
    assert "another architecture" in caught.value.hint


def test_scalars_have_a_shape_in_words():
    report = compare({"t": torch.tensor(0.0)}, {"t": torch.zeros(1)})
    assert report.misshaped == ("t: 1 in the checkpoint, scalar in the model",)
