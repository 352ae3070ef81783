# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a comparison: JSON, Markdown, picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monai_cxrssl.curricula.table import comparison_table
from monai_cxrssl.files import atomic_write, write_json
from monai_cxrssl.report.plots.starts import draw_starts

__all__ = ["write_comparison"]

_PACKAGES = ("monai-cxrssl", "monai", "torch", "numpy", "scipy", "segmentation-models-pytorch")


def write_comparison(report: Mapping[str, Any], folder: Path) -> str:
    """Write ``compare.json``, ``compare.md`` and ``compare.png``, and return what there is to say.

    Args:
        report: what :meth:`~monai_cxrssl.curricula.Study.run` returns.
        folder: that is there.
    """
    environment = {**{name: version(name) for name in _PACKAGES}, "command": sys.orig_argv}
    write_json({"environment": environment, **report}, folder / "compare.json")
    draw_starts(report, folder / "compare.png")
    with atomic_write(folder / "compare.md") as partial:
        Path(partial).write_text(comparison_table(report, markdown=True) + "\n", encoding="utf-8")
    failed = [f"failed: {sentence}" for sentence in report["failed"]]
    return "\n".join([comparison_table(report), "", f"Written: {folder / 'compare.json'}, .md and .png", *failed])
