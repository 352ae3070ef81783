# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Setuptools' build backend; an editable install needs every tier."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Any = None) -> str:
    """Write the metadata of a wheel, with the extra ``all`` as a requirement.

    Who works in the repository trains, and types ``pip install -e .``.
    """
    name = build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)
    file = Path(metadata_directory, name, "METADATA")
    header, blank, page = file.read_text(encoding="utf-8").partition("\n\n")
    file.write_text(f"{header}\nRequires-Dist: monai-cxrssl[all]{blank}{page}", encoding="utf-8")
    return name


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build the wheel of an editable install with that metadata."""
    # Setuptools takes the folder around the metadata; installers hand over the metadata's own, which it leaves unread.
    with tempfile.TemporaryDirectory() as folder:
        prepare_metadata_for_build_editable(folder, config_settings)
        return build_meta.build_editable(wheel_directory, config_settings, folder)
