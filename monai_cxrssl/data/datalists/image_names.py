# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""File name extensions of images."""

from __future__ import annotations

import os

__all__ = ["DICOM_EXTENSIONS", "IMAGE_EXTENSIONS", "file_extension", "image_stem"]

DICOM_EXTENSIONS = frozenset({".dcm", ".dicom", ".dic", ".ima"})
# fmt: off
IMAGE_EXTENSIONS = DICOM_EXTENSIONS | frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".nii", ".nii.gz",
    ".mha", ".mhd", ".nrrd", ".nhdr",
})
# fmt: on


def file_extension(name: str) -> str:
    """Return the extension in lower case, ``.nii.gz`` as one."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else os.path.splitext(lower)[1]  # noqa: PTH122


def image_stem(name: str) -> str:
    """Return a file's name without its extension, when that is one of an image: a UID has dots of its own.

    Example:
        >>> image_stem("film.nii.gz"), image_stem("1.2.840.10008.7")
        ('film', '1.2.840.10008.7')
    """
    extension = file_extension(name)
    return name[: -len(extension)] if extension in IMAGE_EXTENSIONS else name
