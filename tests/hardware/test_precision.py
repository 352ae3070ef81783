# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware import autocast_dtype


@pytest.mark.parametrize(
    ("flags", "bf16", "expected"),
    [(True, "auto", torch.bfloat16), (False, "auto", None), (True, True, torch.bfloat16), (False, "bf16", torch.bfloat16),
     (True, False, None), (True, "false", None), (True, "fp32", None)],
)  # fmt: skip
def test_cpu(monkeypatch, flags, bf16, expected):
    monkeypatch.setattr("monai_cxrssl.hardware.precision._cpu_gains_from_bf16", lambda: flags)
    assert autocast_dtype("cpu", bf16) is expected


@pytest.mark.parametrize(
    ("supported", "amp", "expected"),
    [
        (True, "auto", torch.bfloat16),
        (False, "auto", torch.float16),
        (True, "fp16", torch.float16),
        (True, False, None),
    ],
)
def test_gpu(monkeypatch, supported, amp, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported)
    assert autocast_dtype(torch.device("cuda:0"), amp) is expected


@pytest.mark.parametrize("amp", ["fp8", "half", 3])
def test_unknown_name(amp):
    with pytest.raises(ConfigurationError, match="--amp must be"):
        autocast_dtype("cpu", amp)
