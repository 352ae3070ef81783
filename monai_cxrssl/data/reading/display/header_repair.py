# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Repair of patient, study and identity elements copied from a DICOM header."""

from __future__ import annotations

import hashlib
import re
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["repaired_header"]

_UTF_8 = "ISO_IR 192"
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_DATE = re.compile(r"(\d{4})[-./ ]?(\d{2})[-./ ]?(\d{2})(?:\D.*|\d{6}.*)?")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
# The class of an X-ray image by its modality; any other becomes a secondary capture.
_CLASSES = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "": "1.2.840.10008.5.1.4.1.1.7",
}
# What is referred to, in the order in which each rests on those before, and what tells one from another.
_IDENTITIES = {
    "StudyInstanceUID": ("PatientID", "PatientName", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    "SeriesInstanceUID": ("StudyInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "SOPInstanceUID": ("SeriesInstanceUID", "InstanceNumber", "ContentDate", "ContentTime"),
}
_SEXES = ("M", "F", "O", "")


def repaired_header(header: Dataset, path: str) -> tuple[Dataset, list[str]]:
    """Return a copy of a header in UTF-8 whose elements are all valid, and what was repaired, in words.

    Values that cannot be put right are emptied. UIDs are taken from the file's meta information or made of what
    identifies patient, study and series, so that images of one study stay together; ``path`` tells images apart that
    nothing else does.
    """
    from pydicom import Dataset

    notes: list[str] = []
    # Of pydicom about the very values that are repaired here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = Dataset()
        result.update({e.tag: e for e in _readable(header, notes)})
        stated = result.get("SpecificCharacterSet")
        if stated not in (None, "", _UTF_8) and not _is_usual(stated):
            notes.append(f"the character set {stated!r} was replaced by UTF-8")
        result.SpecificCharacterSet = _UTF_8
        meta = getattr(header, "file_meta", None) or Dataset()
        _repair_identity(result, meta, path, notes)
    return result, notes


def _readable(header: Dataset, notes: list[str]) -> Any:
    """Yield the elements before the pixel data whose values can be decoded, repaired."""
    from pydicom.dataelem import DataElement

    for tag in sorted(header.keys()):
        if tag.group > 0x0040 or tag.is_private:
            continue
        try:
            element = header[tag]
            value = _repaired(element.VR, element.value)
            if element.VR == "PN":  # decoded now, since its bytes are in another encoding than the copy
                value = str(value)
            element = DataElement(tag, element.VR, value) if value is not element.value else element
        except Exception:  # a value that pydicom cannot convert, or of an unknown encoding
            notes.append(f"{_name(tag)} cannot be read and was left out")
            continue
        if value != header[tag].value:
            notes.append(f"{_name(tag)} {str(header[tag].value)[:40]!r} became {str(value)!r}")
        yield element


def _repaired(vr: str, value: Any) -> Any:
    """Return a value that its value representation allows."""
    from pydicom.multival import MultiValue

    if isinstance(value, MultiValue):
        parts = [_repaired(vr, part) for part in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    if vr in ("DA", "TM") and value:
        text = str(value).strip()
        match = (_DATE if vr == "DA" else _TIME).fullmatch(text)
        text = "".join(part or "" for part in match.groups()) if match else ""
        return value if text == str(value) and _is_valid(vr, text) else text if _is_valid(vr, text) else ""
    if vr == "CS" and value and not _is_valid(vr, str(value)):
        text = str(value).strip().upper()[:16]
        return text if _is_valid(vr, text) else ""
    if vr in ("SH", "LO") and isinstance(value, str):
        text = "".join(letter for letter in value if letter.isprintable())[: 16 if vr == "SH" else 64]
        return value if text == value else text
    if vr in ("AS", "DS", "IS", "UI") and isinstance(value, str) and value and not _is_valid(vr, value):
        return ""
    return value


def _is_valid(vr: str, text: str) -> bool:
    from pydicom import config
    from pydicom.valuerep import DA, TM, validate_value

    try:
        validate_value(vr, text, config.RAISE)
        if text and vr in ("DA", "TM"):
            (DA if vr == "DA" else TM)(text)
    except Exception:
        return False
    return True


def _repair_identity(header: Dataset, meta: Dataset, path: str, notes: list[str]) -> None:
    if header.get("PatientSex") not in (None, *_SEXES):
        notes.append(f"PatientSex {header.PatientSex!r} was emptied")
        header.PatientSex = ""
    modality = str(header.get("Modality") or "")
    if not modality:
        header.Modality = "OT"
    for keyword, stated in (("SOPClassUID", "MediaStorageSOPClassUID"), *((name, "") for name in _IDENTITIES)):
        value, there = str(header.get(keyword) or ""), str(meta.get(stated or "MediaStorageSOPInstanceUID") or "")
        if _is_uid(value):
            continue
        if keyword == "SOPClassUID":
            new = there if _is_uid(there) else _CLASSES.get(modality, _CLASSES[""])
        elif keyword == "SOPInstanceUID" and _is_uid(there):
            new = there
        else:
            parts = [str(header.get(name) or "") for name in _IDENTITIES[keyword]]
            # An image that names nothing, and each image by itself, is known by its file.
            if keyword == "SOPInstanceUID" or not any(parts):
                parts.append(path)
            digest = hashlib.sha256("\0".join([keyword, *parts]).encode(errors="surrogatepass"))
            new = f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"
        notes.append(f"{keyword} {value!r} became {str(new)!r}" if value else f"{keyword} was missing; it is now {new}")
        setattr(header, keyword, new)


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _is_usual(character_set: Any) -> bool:
    """Return whether pydicom and highdicom know the character sets of a header."""
    from pydicom.charset import python_encoding

    names = [character_set] if isinstance(character_set, str) else list(character_set)
    return all(name in python_encoding and name for name in names)


def _name(tag: Any) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag) or str(tag)
