# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Public forms of weights: for each, a small seeded network of its own library saved as that library saves it."""

from __future__ import annotations

from .convolutional import CONVOLUTIONAL
from .frameworks import FRAMEWORKS
from .transformers import TRANSFORMERS

FORMATS = (*CONVOLUTIONAL, *TRANSFORMERS, *FRAMEWORKS)
