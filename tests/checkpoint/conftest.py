"""Small state dicts that look trained, in the shapes in which people save them."""

import pytest
import torch
from swiftdeploy_models import swiftformer

from swiftdeploy.errors import SwiftdeployError


def trained(module, seed=0):
    """The module after one batch in training mode: every batch norm has counted it."""
    torch.manual_seed(seed)
    module.train()(torch.randn(4, 3, 64, 64))
    return module.eval()


@pytest.fixture(scope="session")
def digits():
    torch.manual_seed(0)
    return trained(swiftformer.swiftformer_digits(num_classes=7))


@pytest.fixture
def state(digits):
    return {key: value.clone() for key, value in digits.state_dict().items()}


@pytest.fixture
def refused():
    """refused(call, fact) checks that `call()` fails with one line of fact and one of hint, and returns the error."""

    def check(call, kind, *facts):
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert isinstance(error, SwiftdeployError)
        assert error.hint
        assert "\n" not in error.fact + error.hint
        for fact in facts:
            assert fact in error.fact, error.fact
        return error

    return check
