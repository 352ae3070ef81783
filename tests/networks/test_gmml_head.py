# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_cxrssl.networks import GMMLHead, mean_of_blocks


def maps(number: int = 4) -> list[torch.Tensor]:
    return list(torch.randn(number, 2, 8, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


def test_a_larger_last_block_changes_nothing():
    tokens = maps()
    expected = mean_of_blocks(tokens)
    torch.testing.assert_close(mean_of_blocks([*tokens[:3], 50 * tokens[3] + 7]), expected, rtol=0, atol=1e-4)
    by_hand = (
        sum((m - m.mean(1, keepdim=True)) / m.var(1, keepdim=True, correction=0).add(1e-5).sqrt() for m in tokens) / 4
    )
    torch.testing.assert_close(expected, by_hand)


def test_the_head_normalises_its_tokens():
    head, tokens = GMMLHead(8, patch_size=4).double(), maps(1)[0]
    assert head(tokens).shape == (2, 1, 12, 20)
    torch.testing.assert_close(head(100 * tokens + 3), head(tokens), rtol=0, atol=1e-4)
