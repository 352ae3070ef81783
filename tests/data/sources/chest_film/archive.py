# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and what lies beside them, drawn for the tests."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.data.sources.layouts.plain import folder

PRESENTATION, PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"


def grey(number=0, side=96):
    """uint8 pixels as noisy as an image's."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:side, 0:side] / side
    film = 150 + 60 * np.sin(5 * x + number) * np.cos(4 * y + number) + rng.normal(0, 6, (side, side))
    return np.clip(film, 0, 255).astype(np.uint8)


def lungs(side=96):
    mask = np.zeros((side, side), np.uint8)
    mask[side // 5 : 3 * side // 4, side // 8 : 2 * side // 5] = 255
    mask[side // 5 : 3 * side // 4, 3 * side // 5 : 7 * side // 8] = 255
    return mask


def picture(path, pixels, **options):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def dicom(path, pixels=None, without=(), **elements):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    pixels = grey().astype(np.uint16) * 16 if pixels is None else pixels
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = PRESENTATION, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.PatientID = "DX", path.parent.name
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if pixels.ndim == 3 else (1, "MONOCHROME2")
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    for keyword in without:
        delattr(ds, keyword)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return ds


def indexed(root, **options):
    """The images' paths, relative, and the counts of what was left out."""
    datalist = folder.read(root, patient_ids="original", **options)
    return [item["image"] for item in datalist.splits["training"]], datalist.summary()["left_out"]
