# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Model card of a packed bundle, ``docs/README.md`` as in MONAI's model zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_cxrssl.apps.pack.metadata import stated_versions
from monai_cxrssl.report.card import NOT_STATED, model_card

__all__ = ["write_card"]


def write_card(
    path: Path,
    name: str,
    metadata: Mapping[str, Any],
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
    unscripted: str | None = None,
) -> None:
    """Write the card of a pack.

    Args:
        metadata, settings: its ``metadata.json`` and ``model.json``.
        figures: the report's ``metrics.json``, ``{}`` without one.
        unscripted: why TorchScript cannot compile the network, if it cannot.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), trim_blocks=True, undefined=StrictUndefined
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    card = model_card(metadata, figures)
    text = environment.get_template("card.md.j2").render(
        name=name, metadata=metadata, settings=settings, figures=figures, versions=stated_versions(metadata),
        measured=[(field.field, field.value) for field in card if field.section == "Evaluation" and field.stated],
        card=[(field.section, field.field, field.value, field.item) for field in card], not_stated=NOT_STATED,
        unscripted=unscripted, several=len(metadata["network_data_format"]["outputs"]) > 1,
    )  # fmt: skip
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
