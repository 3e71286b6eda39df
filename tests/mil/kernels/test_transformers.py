"""Oracle: torch's scaled_dot_product_attention."""

import pytest
import torch
import torch.nn.functional as F

from swiftdeploy.mil.kernels.transformers import scaled_dot_product_attention


def tensor(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [(3,), (3, 2), (3, 2, 4)])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_equals_torch(batch, mask):
    query, key, value = (tensor(*batch, *tail, seed=k) for k, tail in enumerate(((7, 16), (5, 16), (5, 8))))
    attn_mask = tensor(7, 5, seed=9)
    attn_mask = {None: None, "bool": attn_mask > -1.0, "float": attn_mask}[mask]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask)
    found = scaled_dot_product_attention(query, key, value, attn_mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_infinite_masks_shut_positions_out_and_an_empty_row_is_nan():
    query, key, value = tensor(1, 2, 4, seed=0), tensor(1, 3, 4, seed=1), tensor(1, 3, 4, seed=2)
    shut = torch.tensor([[0.0, float("-inf"), float("-inf")], [float("-inf")] * 3])
    found = scaled_dot_product_attention(query, key, value, shut)
    torch.testing.assert_close(found[0, 0], value[0, 0])
    assert found[0, 1].isnan().all()
