# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung sizes of inference, in pixels and mm of the file, and outlines that a second inference replaces."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import torch

from monai_cxrssl.data import DecodedImages, ImageDataset
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.handlers import InferenceWriter, LungFiles
from monai_cxrssl.handlers.inference import lung_files
from monai_cxrssl.networks import PredictionHead
from monai_cxrssl.transforms import ResizeCXR


class DarkIsLung(torch.nn.Module):
    def forward(self, image):
        return {"mask": 20 * (0.4 - image)}


def test_sizes_outlines_and_a_second_inference(tmp_path):
    film = np.full((200, 160), 220, np.uint8)
    film[40:160, 20:70] = film[40:160, 90:140] = 20
    cv2.imwrite(str(tmp_path / "plain.png"), film)
    cv2.imwrite(
        str(tmp_path / "white.png"),
        np.full((200, 160), 220, np.uint8) - np.tile(np.arange(160, dtype=np.uint8) // 4, (200, 1)),
    )
    items = [{"image": str(tmp_path / name), "patient_id": name} for name in ("plain.png", "white.png")]
    images = DecodedImages(items, side=80, progress=False)
    for _ in range(2):
        writer = InferenceWriter(tmp_path / "out", images, PredictionHead(), ResizeCXR(100))
        loader = torch.utils.data.DataLoader(ImageDataset(images, writer.transform, num_classes=0), batch_size=2)
        handlers = [writer, LungFiles(writer)]
        MultiTaskPredictor("cpu", loader, DarkIsLung(), "multi_class", [], amp=False, val_handlers=handlers).run()
    plain, white = csv.DictReader((tmp_path / "out/lungs.csv").open(encoding="utf-8"))
    assert float(plain["area_px"]) == pytest.approx(2 * 120 * 50, rel=0.05)
    assert float(plain["thoracic_width_px"]) == pytest.approx(120, abs=4)
    assert float(plain["height_px"]) == pytest.approx(120, abs=4)
    assert plain["area_mm2"] == plain["thoracic_width_mm"] == plain["doubts"] == ""
    assert float(plain["expected_dice"]) > 0.95
    assert white["doubts"] == "no lungs found"
    assert white["area_px"] == ""
    picture = cv2.imread(str(tmp_path / "out" / plain["outline"]))
    assert picture.shape == (*images.image(0).shape, 3)
    assert (picture == (0, 200, 255)).all(-1).any()


def test_what_cannot_be_measured_or_written_is_left_out(tmp_path, monkeypatch, caplog):
    film = np.full((200, 160), 220, np.uint8)
    film[40:160, 20:70] = film[40:160, 90:140] = 20
    names = ("gone.png", "stays.png")
    for name in names:
        cv2.imwrite(str(tmp_path / name), film)
    items = [{"image": str(tmp_path / name), "patient_id": name} for name in names]
    images = DecodedImages(items, side=80, progress=False)
    (tmp_path / "gone.png").unlink()  # its size is not known any more
    writer = InferenceWriter(tmp_path / "out", images, PredictionHead(), ResizeCXR(100))
    whole = lung_files.atomic_write

    def full(path, **options):
        if "stays" in path.name:
            raise OSError(28, "No space left on device", str(path))
        return whole(path, **options)

    monkeypatch.setattr(lung_files, "atomic_write", full)
    loader = torch.utils.data.DataLoader(ImageDataset(images, writer.transform, num_classes=0), batch_size=2)
    handlers = [writer, LungFiles(writer)]
    MultiTaskPredictor("cpu", loader, DarkIsLung(), "multi_class", [], amp=False, val_handlers=handlers).run()
    gone, stays = csv.DictReader((tmp_path / "out/lungs.csv").open(encoding="utf-8"))
    assert gone["area_px"] == gone["thoracic_width_px"] == ""
    assert gone["outline"] == "outlines/gone.png"
    assert float(stays["area_px"]) == pytest.approx(2 * 120 * 50, rel=0.05)
    assert stays["outline"] == ""
    assert "the lungs were not measured" in caplog.text
    assert "no outline was written of" in caplog.text
