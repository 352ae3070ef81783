# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Logits of mean probabilities, which TorchScript compiles too."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["mean_label_logits", "mean_log_odds"]


def mean_log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds of the mean sigmoid over the first axis, float32.

    By logarithms, so that certainty does not overflow.
    """
    values = logits.float()
    return logsigmoid(values).logsumexp(0) - logsigmoid(-values).logsumexp(0)


def mean_label_logits(logits: Tensor, temperatures: Tensor, multi_class: bool) -> Tensor:
    """Return logits ``(B, C)`` float32 of the mean probabilities of members.

    Args:
        logits: of the members, ``(M, B, C)``.
        temperatures: of the members, ``(M,)``, by which their logits are divided.
        multi_class: probabilities are a softmax, not sigmoids.
    """
    scaled = logits.float() / temperatures[:, None, None]
    if multi_class:
        return scaled.log_softmax(-1).logsumexp(0) - math.log(scaled.shape[0])
    return mean_log_odds(scaled)
