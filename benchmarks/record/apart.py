# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patients kept out of training since a scored image shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data import ImageStore
from monai_cxrssl.data.audit.duplicates import fingerprint, near_duplicates

__all__ = ["seen_patients"]


def seen_patients(
    images: ImageStore, scored: Iterable[Mapping[str, Any]], aliases: Sequence[tuple[str, str]] = ()
) -> set[str]:
    """Return patients who are not scored but share a near-duplicate image, or an id, with one who is.

    Near-duplicates are those of ``monai_cxrssl audit``; a patient of whom one image is like a scored one stays out with
    all images.

    Args:
        images: of all sources.
        scored: items of validation and test.
        aliases: pairs of ids of one person.
    """
    patients = [item["patient_id"] for item in images.items]
    held = {item["patient_id"] for item in scored}
    prints = np.stack([fingerprint(images.image(index)) for index in range(len(images))])
    pairs = [(patients[first], patients[second]) for first, second, _ in near_duplicates(prints)]
    return {
        one for pair in (*pairs, *aliases) for one, other in (pair, pair[::-1]) if other in held and one not in held
    }
