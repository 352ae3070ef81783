# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = str(Path(__file__).parents[2] / "benchmarks")
sys.path.insert(0, SCRIPTS)
try:
    from interval_coverage import AREAS, PATIENTS, PROPORTIONS, area_held, coverage, proportion_held
finally:
    sys.path.remove(SCRIPTS)

DRAWS = 300
#: Three standard errors of a share of as many draws.
SLACK = 3 * np.sqrt(0.93 * 0.07 / DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize("patients", PATIENTS)
@pytest.mark.parametrize("truth", AREAS)
def test_interval_of_an_auc_holds_the_truth(truth, patients):
    found = coverage(lambda generator: area_held(generator, truth, patients, 0.5, 5, None), DRAWS, 1)
    assert found >= 0.93 - SLACK


@pytest.mark.slow
@pytest.mark.parametrize("patients", PATIENTS)
@pytest.mark.parametrize("truth", PROPORTIONS)
def test_interval_of_a_proportion_holds_the_truth(truth, patients):
    found = coverage(lambda generator: proportion_held(generator, truth, patients, 0.5, 5), DRAWS, 1)
    assert found >= 0.93 - SLACK


def test_few_patients_at_the_edge():
    """The cells in which percentiles of the bootstrap failed, with few draws."""
    assert coverage(lambda generator: area_held(generator, 0.99, 16, 0.5, 5, None), 150) >= 0.93
    assert coverage(lambda generator: proportion_held(generator, 0.99, 16, 0.5, 5), 150) >= 0.93
