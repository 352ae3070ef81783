# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Model card by MONAI, CLAIM (2024) and TRIPOD+AI.

What nobody stated stands there as such. A bundle's ``metadata.json`` may hold further keys than MONAI's; those named
here (``target_population``, ``reference_standard`` ...) fill the card.

Sources: MONAI bundle specification; Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM):
2024 Update, Radiology: Artificial Intelligence 2024; Collins et al., TRIPOD+AI statement, BMJ 2024. CLAIM is cited by
topic, since its items were numbered anew in 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai_cxrssl.report.findings import number_or_none

__all__ = ["NOT_STATED", "CardField", "model_card"]

NOT_STATED = "not stated"

# Section, field, key in the metadata, item of a checklist.
_STATED = (
    ("Model", "Name", "name", "MONAI"),
    ("Model", "Version", "version", "MONAI"),
    ("Model", "Task", "task", "MONAI; TRIPOD+AI 1"),
    ("Model", "Description", "description", "MONAI; CLAIM, model; TRIPOD+AI 22"),
    ("Model", "Authors", "authors", "MONAI"),
    ("Model", "Copyright", "copyright", "MONAI"),
    ("Model", "Input", "image_classes", "MONAI; CLAIM, model"),
    ("Model", "Output", "pred_classes", "MONAI; CLAIM, model; TRIPOD+AI 15"),
    ("Model", "MONAI version", "monai_version", "MONAI; CLAIM, software"),
    ("Model", "PyTorch version", "pytorch_version", "MONAI; CLAIM, software"),
    ("Model", "References", "references", "MONAI"),
    ("Use", "Intended use", "intended_use", "MONAI; CLAIM, background; TRIPOD+AI 3a"),
    ("Use", "Target population and users", "target_population", "TRIPOD+AI 3b"),
    ("Use", "Uses that are excluded", "excluded_use", "CLAIM, limitations"),
    ("Use", "Limitations", "limitations", "CLAIM, limitations; TRIPOD+AI 26"),
    ("Data", "Source of data", "data_source", "MONAI; CLAIM, data sources; TRIPOD+AI 5a"),
    ("Data", "Type of data", "data_type", "MONAI"),
    ("Data", "Dates of the data", "data_dates", "TRIPOD+AI 5b"),
    ("Data", "Setting and centres", "setting", "TRIPOD+AI 6a"),
    ("Data", "Eligibility criteria", "eligibility", "CLAIM, eligibility; TRIPOD+AI 6b"),
    ("Data", "Preparation", "preprocessing", "CLAIM, preprocessing; TRIPOD+AI 7"),
    ("Data", "Deidentification", "deidentification", "CLAIM, deidentification"),
    ("Data", "Labels", "label_classes", "MONAI; TRIPOD+AI 8"),
    ("Data", "Reference standard and who set it", "reference_standard", "CLAIM, reference standard; TRIPOD+AI 8"),
    ("Data", "Reason for the sample size", "sample_size", "CLAIM, sample size; TRIPOD+AI 10"),
    ("Data", "Handling of missing data", "missing_data", "CLAIM, missing data; TRIPOD+AI 11"),
    ("Training", "Procedure", "training", "CLAIM, training; TRIPOD+AI 12"),
    ("Training", "Class imbalance", "class_imbalance", "TRIPOD+AI 13"),
    ("Training", "Fairness", "fairness", "TRIPOD+AI 14"),
    ("Governance", "Ethical approval", "ethics", "TRIPOD+AI 17"),
    ("Governance", "Funding", "funding", "CLAIM, funding; TRIPOD+AI 18a"),
    ("Governance", "Conflicts of interest", "conflicts", "TRIPOD+AI 18b"),
    ("Governance", "Protocol", "protocol", "CLAIM, protocol; TRIPOD+AI 18c"),
    ("Governance", "Registration", "registration", "CLAIM, registration; TRIPOD+AI 18d"),
    ("Governance", "Availability of data", "data_availability", "TRIPOD+AI 18e"),
    ("Governance", "Availability of code", "code_availability", "TRIPOD+AI 18f"),
    ("Governance", "Involvement of patients and the public", "patient_involvement", "TRIPOD+AI 19"),
)
# Field, key of the figure, item of a checklist.
_MEASURED = (
    ("Test images", "images", "CLAIM, data; TRIPOD+AI 20"),
    ("Test patients", "patients", "CLAIM, data; TRIPOD+AI 20"),
    ("Test patients of the rarest class", "smallest_class_patients", "TRIPOD+AI 20"),
    ("Macro AUROC", "macro_auc", "CLAIM, performance; TRIPOD+AI 23"),
    ("Sensitivity at the operating point, lowest class", "lowest_sensitivity", "CLAIM, performance; TRIPOD+AI 23"),
    ("Calibration error after scaling", "ece_scaled", "CLAIM, performance; TRIPOD+AI 23"),
    ("Dice", "dice", "CLAIM, performance; TRIPOD+AI 23"),
    ("Saliency in the lungs beyond their share", "lung_attention_excess", "CLAIM, explainability"),
    ("Macro AUROC with the lungs blanked", "lungs_blanked_macro_auc", "CLAIM, robustness"),
    ("Largest gap between subgroups", "largest_subgroup_gap", "TRIPOD+AI 23"),
    ("Loss on external images", "external_drop", "CLAIM, external testing; TRIPOD+AI 23"),
    ("Leaks between training and test", "leaks", "CLAIM, data partitions"),
)


@dataclass(frozen=True)
class CardField:
    """One line of a model card."""

    section: str  #: heading.
    field: str  #: what is told.
    value: str  #: in words, or ``NOT_STATED``.
    item: str  #: who asks for it.

    @property
    def stated(self) -> bool:
        """Whether anything is known."""
        return self.value != NOT_STATED


def model_card(metadata: Mapping[str, Any], figures: Mapping[str, Any]) -> list[CardField]:
    """Fill the model card, all fields in their order; what is not known, or not finite, is ``NOT_STATED``.

    Args:
        metadata: a bundle's ``metadata.json`` (:func:`monai_cxrssl.report.provenance.bundle_metadata`), or ``{}``.
        figures: flat, as in ``metrics.json``, with ``<figure>_ci_low`` and ``<figure>_ci_high`` of intervals.

    Example:
        >>> card = model_card({"name": "Lungs"}, {"dice": 0.9, "dice_ci_low": 0.85, "dice_ci_high": 0.94})
        >>> [field.value for field in card if field.stated]
        ['Lungs', '0.900 (0.850 to 0.940)']
    """
    card = [CardField(section, name, _words(metadata.get(key)), item) for section, name, key, item in _STATED]
    return card + [CardField("Evaluation", name, _figure(figures, key), item) for name, key, item in _MEASURED]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{key}: {_words(entry)}" for key, entry in value.items()]
    if isinstance(value, list | tuple):
        value = "; ".join(text for text in map(_words, value) if text != NOT_STATED)
    if isinstance(value, float) and not math.isfinite(value):
        return NOT_STATED
    return (" ".join(str(value).split()) if value is not None else "") or NOT_STATED


def _figure(figures: Mapping[str, Any], key: str) -> str:
    value = number_or_none(figures.get(key))
    if value is None:
        return NOT_STATED
    if value == int(value) and isinstance(figures[key], int):
        return f"{int(value):,}"
    low, high = number_or_none(figures.get(f"{key}_ci_low")), number_or_none(figures.get(f"{key}_ci_high"))
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")
