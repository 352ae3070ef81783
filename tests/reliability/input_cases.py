# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are no chest X-ray, or no longer: those that the reader's tests refuse, each with what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from monai_cxrssl.data import read_cxr
from monai_cxrssl.errors import CXRReadError
from tests.data import conftest as dicom
from tests.data.reading.test_reader_faults import DICOM_REFUSED, REFUSED

__all__ = ["INPUTS"]

_SYNTAXES = {"implicit": "1.2.840.10008.1.2", "explicit": "1.2.840.10008.1.2.1", "deflated": "1.2.840.10008.1.2.1.99"}
_NO_IMAGES = {
    "structured report": ("1.2.840.10008.5.1.4.1.1.88.22", "Enhanced SR"),
    "RT plan": ("1.2.840.10008.5.1.4.1.1.481.5", "RT Plan"),
    "presentation state": ("1.2.840.10008.5.1.4.1.1.11.1", "Presentation State"),
    "key object selection": ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object"),
    "PDF in DICOM": ("1.2.840.10008.5.1.4.1.1.104.1", "PDF"),
}


def read(path: Path) -> str:
    try:
        film, metadata = read_cxr(path)
    except CXRReadError as error:
        return f"refused: {error.cause}"
    return f"loaded: {film.shape}, {'; '.join(metadata['warnings']) or 'nothing is said'}"


def _bytes(content: bytes) -> Callable[[Path], str]:
    def case(folder: Path) -> str:
        path = folder / "film"
        path.write_bytes(content)
        return read(path)

    return case


def _dicom(**elements: object) -> Callable[[Path], str]:
    def case(folder: Path) -> str:
        return read(dicom.save(dicom.make_dicom(dicom.stored_film(), **elements), folder / "film.dcm"))

    return case


def _no_image(uid: str) -> Callable[[Path], str]:
    def case(folder: Path) -> str:
        content = dicom.make_dicom(dicom.stored_film(), PixelData=None, SOPClassUID=uid)
        content.file_meta.MediaStorageSOPClassUID = uid
        return read(dicom.save(content, folder / "film.dcm"))

    return case


def _cut(syntax: str, keep: float) -> Callable[[Path], str]:
    def case(folder: Path) -> str:
        path = dicom.save(dicom.make_dicom(dicom.stored_film(), syntax=syntax), folder / "film.dcm")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        return read(path)

    return case


def _refused(cause: str) -> str:
    alternatives = "|".join(re.escape(part) for part in cause.split("|"))
    return f"refused: .*({alternatives})"


# What it is, what must be seen (a regular expression), how it is made and read in a folder.
INPUTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    **{name: (_refused(cause), _bytes(content)) for name, (content, cause) in REFUSED.items()},
    **{f"DICOM, {name}": (_refused(cause), _dicom(**changes)) for name, (changes, cause) in DICOM_REFUSED.items()},
    **{name: (_refused(cause), _no_image(uid)) for name, (uid, cause) in _NO_IMAGES.items()},
    **{
        f"DICOM, {kind}, cut to {keep:.1%}": ("refused: ", _cut(uid, keep))
        for kind, uid in _SYNTAXES.items()
        for keep in (0.02, 0.1, 0.2, 0.5, 0.9, 0.999)
    },
}
