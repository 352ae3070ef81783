# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One small image in every format and coding that the reader takes: what damage and fuzzing start from."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import imagecodecs
import itk
import nibabel
import numpy as np
from PIL import Image

from tests.data import conftest as dicom
from tests.data.reading.test_reader_dicom import compressed

__all__ = ["SHAPE", "CHECKSUMMED", "small_files"]

SHAPE = (24, 31)
# Formats whose pixels carry a checksum: damage in them is refused, never shown.
CHECKSUMMED = ("png8", "png16", "png_palette", "nifti_gz")


def small_files() -> dict[str, bytes]:
    """Return the content of one file per format; each loads to an image of ``SHAPE``."""
    stored = dicom.stored_film(12, shape=SHAPE)
    grey = np.random.default_rng(1).integers(0, 256, SHAPE).astype(np.uint8)
    files = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def dicom_bytes(pixels: np.ndarray, bits: int = 12, **options: object) -> bytes:
            return dicom.save(dicom.make_dicom(pixels, bits, **options), folder / "film.dcm").read_bytes()

        window = {"WindowCenter": 2000, "WindowWidth": 3000}
        files["dicom_raw"] = dicom_bytes(stored, **window)
        files["dicom_implicit"] = dicom_bytes(stored, syntax="1.2.840.10008.1.2")
        files["dicom_big_endian"] = dicom_bytes(stored, syntax="1.2.840.10008.1.2.2")
        files["dicom_deflated"] = dicom_bytes(stored, syntax="1.2.840.10008.1.2.1.99")
        for coding in ("rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"):
            syntax, frame = compressed(coding, stored)
            files[f"dicom_{coding.replace(' ', '_')}"] = dicom_bytes(stored, syntax=syntax, frame=frame)
        jpeg = imagecodecs.jpeg8_encode(grey, level=90)
        files["dicom_jpeg"] = dicom_bytes(grey, 8, syntax="1.2.840.10008.1.2.4.50", frame=jpeg)
        for label, extension, compress in (
            ("mha", "mha", False), ("mha_zlib", "mha", True), ("nrrd", "nrrd", False), ("nrrd_gzip", "nrrd", True),
        ):  # fmt: skip
            itk.imwrite(itk.image_from_array(stored), str(folder / f"film.{extension}"), compression=compress)
            files[label] = (folder / f"film.{extension}").read_bytes()

    def picture(values: np.ndarray, kind: str, **options: object) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, kind, **options)
        return stream.getvalue()

    files["png8"], files["png16"] = picture(grey, "PNG"), picture(stored, "PNG")
    palette = io.BytesIO()
    Image.fromarray(grey).convert("P").save(palette, "PNG")
    files["png_palette"] = palette.getvalue()
    files["jpeg"] = picture(grey, "JPEG", quality=90)
    files["jpeg_progressive"] = picture(grey, "JPEG", quality=90, progressive=True)
    files["tiff"], files["tiff_lzw"] = picture(stored, "TIFF"), picture(stored, "TIFF", compression="tiff_lzw")
    files["tiff_deflate"] = picture(grey, "TIFF", compression="tiff_adobe_deflate")
    files["bmp"] = picture(grey, "BMP")
    nifti = nibabel.Nifti1Image(stored.T, np.diag([-0.2, -0.2, 1.0, 1.0])).to_bytes()
    files["nifti"], files["nifti_gz"] = nifti, gzip.compress(nifti, mtime=0)
    return files
