# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Each bad file of the table is refused with its cause; the committed table holds the cases of today."""

from __future__ import annotations

import re

import pytest

from tests.reliability.fault_cases import FAULTS
from tests.reliability.input_cases import INPUTS
from tests.reliability.table import committed_cases


@pytest.mark.parametrize("name", INPUTS)
def test_input(tmp_path, name):
    expected, cause = INPUTS[name]
    seen = cause(tmp_path)
    assert re.search(expected, seen), seen


def test_the_committed_table_is_current():
    assert len(INPUTS) >= 60
    assert len(FAULTS) >= 15
    assert committed_cases() == [*INPUTS, *FAULTS], "run python docs/make_reliability_table.py"
