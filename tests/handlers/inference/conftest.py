# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and files that are none, for inference that decodes on the way."""

from __future__ import annotations

import cv2
import pytest

from .test_inference_files import film, save_dicom


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Seven images, one of them stored lying on its side, among five files that are none: a whole batch of these."""
    top = tmp_path_factory.mktemp("films")
    for number in range(6):
        cv2.imwrite(str(top / f"{number}.png"), film((90 + number, 120 - number)))
    turned = film((120, 80)).T.copy()
    save_dicom(top / "turned.dcm", turned, PatientOrientation=["F", "L"], ViewPosition="PA", PatientAge="050Y")
    for number in range(5):
        (top / f"broken{number}.png").write_text("no image")
    names = ["0.png", "broken0.png", *(f"broken{n}.png" for n in (1, 2, 3)), *(f"{n}.png" for n in range(1, 6))]
    names += ["turned.dcm", "broken4.png"]
    return [{"image": str(top / name), "patient_id": name, "label": 1} for name in names]
