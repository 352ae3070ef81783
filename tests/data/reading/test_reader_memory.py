# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that claim or inflate to far more than an image are refused before memory is taken: one process, one limit."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate

SIDE = 60_000
LIMIT_MB = 300
READ = f"""
import json, resource, sys
from monai_cxrssl.data.reading.read import read_cxr
from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.errors import CXRReadError
import monai_cxrssl.data.reading.dicom
import nibabel, PIL.Image, pydicom
# What would be inflated beyond it would not fit into the limit below.
monai_cxrssl.data.reading.dicom.MAX_INFLATED_BYTES = 32 * 2**20
# ITK loads its parts when they are first used.
read_cxr(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {LIMIT_MB} * 2**20,) * 2)
told = {{}}
for path in sys.argv[2:]:
    for read in (read_cxr, read_dicom_header) if path.endswith("deflated.dcm") else (read_cxr,):
        try:
            read(path)
            told[path] = "was read"
        except CXRReadError as error:
            told[path] = error.cause
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([told, (after - before) / 1024]))
"""


def jpeg_header() -> bytes:
    frame = struct.pack(">BHHBBBB", 8, SIDE, SIDE, 1, 1, 0x11, 0)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + bytes(2000) + b"\xff\xd9"


def jpeg2000_header() -> bytes:
    size = struct.pack(">HIIIIIIIIH", 0, SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, 1) + bytes([11, 1, 1])
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + bytes(2000) + b"\xff\xd9"


def tiff() -> bytes:
    tags = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: SIDE * SIDE % 2**32}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(2000)


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9_000_000)))


def nifti(sides: tuple[int, int] = (SIDE, SIDE), offset: int = 544, after: int = 0) -> bytes:
    import nibabel

    header = nibabel.Nifti2Header()
    header.set_data_shape(sides)
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = offset, b"n+2\0\r\n\x1a\n"
    return header.binaryblock + bytes(4) + bytes(after)


def deflated(dicom, path: Path) -> bytes:
    """The transfer syntax stands behind so much else that no look at the file's beginning finds it."""
    ds = dicom.make_dicom(dicom.stored_film(), syntax="1.2.840.10008.1.2.1.99")
    content = dicom.save(ds, path).read_bytes()
    end = 144 + struct.unpack("<I", content[140:144])[0]
    long = b"\x02\x00\x02\x00UI" + struct.pack("<H", 6000) + b"1.2".ljust(6000, b"\0")
    group = content[144:end]
    place = group.index(b"\x02\x00\x02\x00")
    length = 8 + struct.unpack("<H", group[place + 6 : place + 8])[0]
    group = group[:place] + long + group[place + length :]
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(1 << 24)) for _ in range(24)) + deflate.flush()
    return content[:140] + struct.pack("<I", len(group)) + group + bomb


@pytest.fixture(scope="module")
def told(tmp_path_factory, dicom):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs the address-space limit of Linux")
    folder = tmp_path_factory.mktemp("huge")
    big = {"Rows": SIDE, "Columns": SIDE}
    sets = {
        "native.dcm": dicom.make_dicom(dicom.stored_film(), **big),
        "frames.dcm": dicom.make_dicom(dicom.stored_film(), NumberOfFrames=SIDE),
        "jpeg.dcm": dicom.make_dicom(
            dicom.stored_film(), syntax="1.2.840.10008.1.2.4.50", PixelData=encapsulate([jpeg_header()]), **big
        ),
        "jpeg2000.dcm": dicom.make_dicom(
            dicom.stored_film(), syntax="1.2.840.10008.1.2.4.90", PixelData=encapsulate([jpeg2000_header()]), **big
        ),
        # The header is modest, the stream is not.
        "jpeg2000 stream.dcm": dicom.make_dicom(
            dicom.stored_film(), syntax="1.2.840.10008.1.2.4.90", PixelData=encapsulate([jpeg2000_header()])
        ),
    }
    for name, ds in sets.items():
        dicom.save(ds, folder / name)
    itk_header = f"ObjectType = Image\nNDims = 2\nDimSize = {SIDE} {SIDE}\nElementType = MET_UCHAR\n"
    nrrd = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: {SIDE} {SIDE}\nencoding: gzip\n\n"
    files = {
        "deflated.dcm": deflated(dicom, folder / "small.dcm"),
        "film.png": png(),
        "film.jpg": jpeg_header(),
        "film.tif": tiff(),
        "film.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 2054, 0, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(2000),
        "film.nii": nifti(),
        "film.nii.gz": gzip.compress(nifti(after=10_000_000)),
        "offset.nii.gz": gzip.compress(nifti((8, 8), offset=400_000_000, after=400_000_100), 1),
        "film.mha": itk_header.encode() + b"ElementDataFile = LOCAL\n" + bytes(2000),
        "film.nrrd": nrrd.encode() + gzip.compress(bytes(2000)),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
    small = "ObjectType = Image\nNDims = 2\nDimSize = 9 8\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (folder / "small.mha").write_bytes(small.encode() + bytes(range(72)))
    names = [str(folder / name) for name in ("small.mha", *sets, *files)]
    done = subprocess.run([sys.executable, "-c", READ, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    causes, used = json.loads(done.stdout.splitlines()[-1])
    return {Path(path).name: cause for path, cause in causes.items()}, used


CASES = {
    "native.dcm": "60000 x 60000", "frames.dcm": "60000 frames", "jpeg.dcm": "60000 x 60000",
    "jpeg2000.dcm": "60000 x 60000", "jpeg2000 stream.dcm": "stream of 60000 x 60000",
    "deflated.dcm": "inflates beyond", "film.png": "60000 x 60000", "film.jpg": "", "film.tif": "", "film.bmp": "",
    "film.nii": "60000 x 60000", "film.nii.gz": "60000 x 60000", "offset.nii.gz": "begin at byte",
    "film.mha": "60000 x 60000", "film.nrrd": "60000 x 60000",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_huge_files_are_refused(told, name):
    assert CASES[name] in told[0][name]
    assert "was read" not in told[0][name]


def test_all_of_them_together_take_little_memory(told):
    assert set(told[0]) == set(CASES)
    assert told[1] < LIMIT_MB
