# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``docs/README.md`` of a packed bundle: the model zoo's sections, filled with what is known of this very model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_cxrssl.report.card import NOT_STATED, model_card

__all__ = ["write_card"]


def write_card(
    path: Path, name: str, metadata: Mapping[str, Any], settings: Mapping[str, Any], figures: Mapping[str, Any]
) -> None:
    """Write the card.

    Args:
        path: file to write.
        name: of the pack, its folder's name.
        metadata: of the pack.
        settings: ``model.json``.
        figures: ``metrics.json`` of the report, ``{}`` where there is none.
    """
    card = model_card(metadata, figures)
    measured = [field for field in card if field.section == "Evaluation" and field.stated]
    classes = settings.get("classes") or []
    tasks = [*(["classification"] if classes else []), *(["segmentation"] if settings.get("decoder") else [])]
    versions = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }
    network = [
        ("Encoder", settings["encoder_name"]),
        *([("Decoder", settings["decoder"])] if settings.get("decoder") else []),
        ("Input", f"one channel, {settings['image_size']} x {settings['image_size']} px, values 0 to 1, bright dense"),
        *([("Classes", ", ".join(classes))] if classes else []),
        *([("Label", "one of the classes" if settings.get("task") == "multi_class" else "any number of the classes")]
          if classes else []),
        *([("Mask", settings.get("mask") or NOT_STATED)] if settings.get("decoder") else []),
    ]  # fmt: skip
    verdict = figures.get("verdict")
    lines = [
        f"# {metadata['name']}",
        "",
        "### **Authors**",
        "",
        str(metadata["authors"]),
        "",
        "### **Tags**",
        "",
        ", ".join(["chest X-ray", *(tasks or ["pretraining", "self-supervised"])]),
        "",
        "## **Model Description**",
        "",
        str(metadata["description"]),
        "",
        *_table(("part", "of this model"), network),
        "",
        "## **Data**",
        "",
        f"Trained on: {metadata.get('data_source', NOT_STATED)}. Licences: `docs/data_license.txt`.",
        "",
        "## **Performance**",
        "",
        *([str(verdict), ""] if verdict else []),
        *(
            [*_table(("figure", "value (95 % interval)"), [(field.field, field.value) for field in measured]), ""]
            if measured
            else []
        ),
        "All figures, plots and probes: `report/index.html`." if figures else "No report came with this pack.",
        "",
        "## **Use**",
        "",
        "From the folder that holds this one:",
        "",
        "```bash",
        f"python -m monai.bundle run --config_file {name}/configs/inference.json --dataset_dir DIR --output_dir OUT",
        f"python -m monai_cxrssl pack --check {name}",
        "```",
        "",
        "```python",
        "import monai",
        "",
        f'network = monai.bundle.load("{name}", bundle_dir=".", workflow_type="inference")',
        "```",
        "",
        "The network gives logits. Training, evaluation and all options: `docs/manual.md`.",
        "",
        "## **System Configuration**",
        "",
        "Inference needs no GPU. Packed with:",
        "",
        *_table(("package", "version"), versions.items()),
        "",
        "## **Limitations**",
        "",
        str(metadata.get("intended_use", "Research use only; not a medical device.")),
        "",
        "Unless `models/model.patients.json` is here, an evaluation cannot tell whether its patients were trained on.",
        "",
        "## **Model card**",
        "",
        *_table(("section", "field", "value", "asked for by"), [(f.section, f.field, f.value, f.item) for f in card]),
        "",
        "## **References**",
        "",
        *[f"- {reference}" for reference in metadata.get("references", [])],
    ]
    path.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(heads), line(["---"] * len(heads)), *map(line, rows)]
