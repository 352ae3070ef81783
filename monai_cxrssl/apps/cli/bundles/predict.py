# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Predict on images with a bundle's weights."""

from __future__ import annotations

from functools import partial

from monai_cxrssl.apps.cli.bundles.command import add_arguments, run_bundle

__all__ = ["OWN_HELP", "TAKES_OVERRIDES", "add_arguments", "run"]

OWN_HELP = TAKES_OVERRIDES = True

run = partial(run_bundle, "inference")
