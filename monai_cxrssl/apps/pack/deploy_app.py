# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Deploy app beside a packed bundle."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_cxrssl import __version__

__all__ = ["write_deploy_app"]


def write_deploy_app(folder: Path, name: str, version: str) -> Path:
    """Write ``app.py``, its requirements, settings and page into a folder, which may be there, and return it.

    The app is no part of the pack, in which ``pack --check --strict`` allows no code.

    Args:
        folder: of the app.
        name: folder of the pack, beside it.
        version: of the pack.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates") / "deploy"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for template in environment.list_templates(extensions=["j2"]):
        text = environment.get_template(template).render(
            name=name, version=version, folder=folder.name, package_version=__version__
        )
        (folder / template.removesuffix(".j2")).write_text(text, encoding="utf-8")
    return folder
