# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Each fault of the table ends in its sentence, or is survived with one."""

from __future__ import annotations

import re

import pytest

from tests.reliability.fault_cases import FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_fault(tmp_path, name):
    expected, cause = FAULTS[name]
    seen = cause(tmp_path)
    assert re.search(expected, seen), seen
