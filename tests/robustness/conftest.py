# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How hard hypothesis tries: the same few examples every time, or with ``HYPOTHESIS_PROFILE=long`` many new ones."""

from __future__ import annotations

import copy
import logging
import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.internal.conjecture import providers

settings.register_profile(
    "short",
    derandomize=True,
    database=None,
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
settings.register_profile("long", settings.get_profile("short"), derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
# It mixes numbers in that it found in the modules loaded so far, which depend on the tests that ran before.
if hasattr(providers, "_local_constants"):
    NO_CONSTANTS = copy.deepcopy(providers._local_constants)
    providers._get_local_constants = lambda: NO_CONSTANTS
# What hypothesis keeps of the source files that it looked through does not belong into the checkout.
set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))


@pytest.fixture(autouse=True)
def quiet_reader(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of odd files give thousands of warnings, which would bury a failure."""
    caplog.set_level(logging.CRITICAL, "monai_cxrssl")
