"""Written out by hand; `test_model` runs whole classifiers."""

import pytest
import torch

from swiftdeploy.mil.kernels.classify import classify


def test_the_most_probable_class_wins():
    label, probabilities = classify(torch.tensor([[0.25, 0.5, 0.25]]), ("a", "b", "c"))
    assert label == "b"
    assert probabilities == {"a": 0.25, "b": 0.5, "c": 0.25}


def test_the_first_of_equals_wins():
    assert classify(torch.tensor([0.5, 0.5]), torch.tensor([7, 3]))[0] == 7


def test_labels_may_be_large_integers():
    label, probabilities = classify(torch.tensor([0.0, 1.0]), torch.tensor([1, 2**40]))
    assert label == 2**40
    assert list(probabilities) == [1, 2**40]


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "c"), "ab", torch.tensor([1])])
def test_classes_must_fit_the_probabilities(classes):
    with pytest.raises(ValueError, match="2 probabilities do not fit the classes"):
        classify(torch.tensor([0.5, 0.5]), classes)
