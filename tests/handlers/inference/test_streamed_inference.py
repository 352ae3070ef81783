# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference that decodes ahead and writes behind the network: the same files, in order, within bounds, nothing lost."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from pathlib import Path

import cv2
import pytest
import torch

from monai_cxrssl.data import InferenceDataset, InferenceLoader, load_predictions, open_images
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.handlers import InferenceWriter
from monai_cxrssl.handlers.inference import mask_files
from monai_cxrssl.networks import MultiTaskNet, PredictionHead
from monai_cxrssl.transforms import ResizeCXR

from .test_inference_files import drawing, rows_of


class BrightIsLung(MultiTaskNet):
    """Draws what is bright; its classes are those of a network that was never trained."""

    def forward(self, image):
        return {**super().forward(image), "mask": 20 * (image - 0.5)}


def infer(items, out: Path, num_workers=2, batch_size=2, cache_dir=None, **options):
    images = open_images(items, 64, cache_dir, max_unreadable=1.0, progress=False, stream=True)
    torch.manual_seed(0)
    network = BrightIsLung("resnet18", 2, decoder=None)
    writer = InferenceWriter(out, images, PredictionHead(classes=["x", "y"]), ResizeCXR(96), **options)
    loader = InferenceLoader(InferenceDataset(images, writer.transform), batch_size, num_workers)
    MultiTaskPredictor("cpu", loader, network, "multi_class", ["x", "y"], amp=False, val_handlers=[writer]).run()
    return load_predictions(out / "predictions.csv")


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.suffix in (".png", ".csv")
    }


def test_threads_change_nothing(items, tmp_path, caplog):
    table = infer(items, tmp_path / "0", 0, overlays=True)
    with caplog.at_level(logging.INFO):
        infer(items, tmp_path / "2", 2, overlays=True)
    readable = [item["image"] for item in items if "broken" not in item["image"]]
    assert [item["image"] for item in table.items] == readable
    assert [entry["image"] for entry in table.unreadable] == [i["image"] for i in items if "broken" in i["image"]]
    assert all(entry["cause"] for entry in table.unreadable)
    assert files(tmp_path / "0") == files(tmp_path / "2")
    assert len(files(tmp_path / "2")) == 7 + 7 + 4
    assert "7 masks, 1 DICOM results, 7 overlays, 5 failures (5 unreadable files" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decoding", "writing"))]


@pytest.mark.parametrize("cached", [False, True])
def test_a_film_stored_on_its_side_gets_an_upright_mask_and_a_seg(items, tmp_path, cached):
    infer(items[-2:], tmp_path / "out", cache_dir=tmp_path / "cache" if cached else None)
    row = rows_of(tmp_path / "out" / "masks.csv")[0]
    mask = cv2.imread(str(tmp_path / "out" / row["mask"]), cv2.IMREAD_UNCHANGED) > 0
    drawn = drawing((120, 80))
    assert mask.shape == drawn.shape
    assert 2 * (mask & drawn).sum() / (mask.sum() + drawn.sum()) > 0.95
    result = rows_of(tmp_path / "out" / "dicom_results.csv")[0]
    assert (result["seg"], result["problem"]) == ("dicom_seg/turned.dcm", "")


def test_a_cache_gives_the_same(items, tmp_path):
    # Of readable images only: a batch of other images gives other last digits.
    infer(items, tmp_path / "streamed")
    infer(items, tmp_path / "cached", cache_dir=tmp_path / "cache")
    assert files(tmp_path / "streamed") == files(tmp_path / "cached")


def test_a_file_that_cannot_be_written_is_its_films_problem(items, tmp_path, monkeypatch, caplog):
    whole = mask_files.atomic_write

    def full(path, **options):
        if path.name == "2.png":
            raise OSError(28, "No space left on device", str(path))
        return whole(path, **options)

    monkeypatch.setattr(mask_files, "atomic_write", full)
    with caplog.at_level(logging.INFO):
        table = infer(items, tmp_path)
    rows = {Path(row["image"]).name: row for row in rows_of(tmp_path / "masks.csv")}
    assert (rows["2.png"]["mask"], rows["2.png"]["problem"]) == ("", "could not be written: No space left on device")
    assert sum(bool(row["mask"]) for row in rows.values()) == 6
    assert "6 masks, 1 DICOM results, 0 overlays, 6 failures (5 unreadable files, 1 masks not written" in caplog.text
    assert [item.get("mask", "") for item in table.items] == [row["mask"] for row in rows.values()]


def test_a_fault_of_a_writing_thread_ends_the_run(items, tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a fault of the program")

    monkeypatch.setattr(mask_files.MaskFiles, "_write_mask", broken)
    with pytest.raises(ZeroDivisionError, match="a fault of the program"):
        infer(items, tmp_path)
    assert not (tmp_path / "predictions.csv").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writing")]


def test_nothing_readable_removes_nothing(items, tmp_path):
    infer(items[:1], tmp_path)
    before = files(tmp_path)
    with pytest.raises(DatalistError, match="All 4 images are unreadable; the first: .*broken0"):
        infer(items[1:5], tmp_path)
    assert files(tmp_path) == before


def test_decoding_and_writing_stay_near_the_network(items, tmp_path, monkeypatch):
    alive: weakref.WeakSet = weakref.WeakSet()
    most = [0]
    read, write = SourceFilm.__init__, mask_files.MaskFiles.write

    def counted(self, *arguments, **options):
        read(self, *arguments, **options)
        alive.add(self)
        most[0] = max(most[0], len(alive))

    def slow(self, *arguments):
        time.sleep(0.01)
        return write(self, *arguments)

    monkeypatch.setattr(SourceFilm, "__init__", counted)
    monkeypatch.setattr(SourceFilm, "__hash__", object.__hash__)
    monkeypatch.setattr(mask_files.MaskFiles, "write", slow)
    infer([dict(items[0], patient_id=str(number)) for number in range(80)], tmp_path, 1, batch_size=4)
    # Decoded ahead: a batch and four images of the thread; in use: a batch; being written: two.
    assert 8 < most[0] <= (4 + 4) + 4 + 2 * 4 + 2


@pytest.mark.parametrize("asked", ["many", -1])
def test_impossible_workers(items, asked):
    images = open_images(items, 64, stream=True)
    with pytest.raises(ConfigurationError, match="num_workers"):
        InferenceLoader(InferenceDataset(images, ResizeCXR(32)), 2, asked)
