# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad and awkward files: what must be refused, with its cause, and what must load all the same."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import CXRReader, read_cxr, read_cxr_uint
from monai_cxrssl.errors import CXRReadError

FILM = np.add.outer(np.arange(40) * 3, np.arange(60)).astype(np.uint8)


def encode(image_format: str, pixels: np.ndarray = FILM, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def noise(shape: tuple[int, int] = (200, 300)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000_000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def flipped(data: bytes, position: float = 0.5) -> bytes:
    changed = bytearray(data)
    changed[int(len(data) * position)] ^= 0x10
    return bytes(changed)


def two_pages() -> bytes:
    stream = io.BytesIO()
    pages = [Image.fromarray(FILM), Image.fromarray(FILM[::-1].copy())]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    return stream.getvalue()


def nan_tiff() -> bytes:
    values = FILM.astype(np.float32)
    values[3, :5] = np.nan
    values[4, 4] = np.inf
    return encode("TIFF", values)


def without(jpeg: bytes, start: float, end: float) -> bytes:
    return jpeg[: int(len(jpeg) * start)] + jpeg[int(len(jpeg) * end) :]


JPEG, NOISY_JPEG, PNG = encode("JPEG", quality=95), encode("JPEG", noise(), quality=90), encode("PNG", noise())
PROGRESSIVE = encode("JPEG", noise(), progressive=True)

REFUSED = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(5000), "zero bytes"),
    "text": (b"patient,label\n1,2\n" * 50, "text file"),
    "latin text": ("Röntgenaufnahme, Größe\n".encode("latin-1") * 20, "text file"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>", "HTML"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4\n", "Git LFS"),
    "random": (np.random.default_rng(3).bytes(5000), "no known image format"),
    "gif": (encode("GIF"), "GIF"),
    "gif bomb": (b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b"\x2c" * 100, "GIF"),
    "pdf": (b"%PDF-1.7\n" + bytes(range(256)), "PDF"),
    "zip": (b"PK\x03\x04" + bytes(range(256)), "zip"),
    "png half": (PNG[: len(PNG) // 2], "PNG"),
    "png last bytes": (PNG[:-40], "PNG"),
    "png bit flip": (flipped(PNG), "checksum"),
    "png checksum": (flipped(PNG, (len(PNG) - 14) / len(PNG)), "checksum"),
    "png bomb": (png_bomb(), "60000 x 60000"),
    "png header only": (PNG[:40], "PNG"),
    "jpeg half": (NOISY_JPEG[: len(NOISY_JPEG) // 2], "truncated"),
    "jpeg last bytes": (NOISY_JPEG[:-20], "truncated"),
    "jpeg half with end": (NOISY_JPEG[: len(NOISY_JPEG) // 2] + b"\xff\xd9", "truncated or damaged"),
    "jpeg gap": (without(NOISY_JPEG, 0.5, 0.6), "truncated or damaged"),
    "jpeg header only": (NOISY_JPEG[:100], "truncated or damaged"),
    "progressive jpeg half": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "truncated progressive"),
    "tiff half": (encode("TIFF", noise())[:30000], "TIFF"),
    "lzw tiff cut": (encode("TIFF", noise(), compression="tiff_lzw")[:-300], "TIFF"),
    "tiff two pages": (two_pages(), "2 pages"),
    "tiff nan": (nan_tiff(), "5 NaN and 1 infinite"),
    "bmp half": (encode("BMP", noise())[:30000], "BMP"),
    "gzip": (gzip.compress(b"nothing" * 99), "gzip"),
    "dicom preamble only": (bytes(128) + b"DICM", "no pixel data|breaks off"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("extension", [".png", ".dcm"])
def test_damaged_files_are_refused_with_cause(tmp_path, name, extension):
    content, cause = REFUSED[name]
    path = tmp_path / f"film{extension}"
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(CXRReadError, match=cause) as caught:
        read_cxr(path)
    assert time.perf_counter() - start < 20  # no bomb goes off
    assert caught.value.path == str(path)
    assert caught.value.remedy
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(JPEG, None), (encode("PNG"), FILM), (encode("BMP"), FILM), (encode("TIFF"), FILM)],
    ids=["jpeg", "png", "bmp", "tiff"],
)
@pytest.mark.parametrize("name", ["film.dcm", "film.png", "film.jpg", "film", "film.nii.gz"])
def test_content_decides_not_the_name(tmp_path, content, expected, name):
    (tmp_path / name).write_bytes(content)
    levels = read_cxr_uint(tmp_path / name)
    assert levels.shape == FILM.shape
    if expected is not None:
        np.testing.assert_array_equal(levels, expected)


@pytest.mark.parametrize(
    ("complete", "content"),
    [(JPEG, JPEG[:-2]), (NOISY_JPEG, NOISY_JPEG[:-2]), (PNG, PNG[:-12]), (PNG, PNG[:-14])],
    ids=["jpeg", "noisy jpeg", "png", "png checksum cut"],
)
def test_a_missing_end_marker_alone_is_a_warning(tmp_path, complete, content):
    (tmp_path / "whole").write_bytes(complete)
    (tmp_path / "cut").write_bytes(content)
    film, metadata = read_cxr(tmp_path / "cut")
    np.testing.assert_array_equal(film, read_cxr(tmp_path / "whole")[0])
    assert "end marker" in metadata["warnings"][0]


@pytest.mark.parametrize(
    "name", ["with space.png", 'it\'s "q".png', "new\nline.png", "ümläut.png", b"bytes\xff\xfe.png"]
)
def test_odd_names_load(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + (name if isinstance(name, bytes) else name.encode())
    with open(path, "wb") as file:
        file.write(encode("PNG"))
    np.testing.assert_array_equal(read_cxr_uint(os.fsdecode(path)), FILM)
    with open(path, "wb") as file:
        file.write(b"plain text")
    with pytest.raises(CXRReadError, match="text") as caught:
        read_cxr(os.fsdecode(path))
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    for name, cause in {
        "folder.png": "directory",
        "pipe.png": "FIFO",
        "loop.png": "loop",
        "gone.png": "does not exist",
        "missing.png": "does not exist",
        "x" * 300: "too long",
        "null\0byte": "not a possible file name",
    }.items():
        errors: list[BaseException] = []

        def attempt(name=name, errors=errors):
            try:
                read_cxr(f"{tmp_path}/{name}")
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), f"{name} blocks"
        assert isinstance(errors[0], CXRReadError), errors
        assert cause in errors[0].cause


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a superuser may read every file")
def test_a_file_without_read_permission_is_refused(tmp_path):
    path = tmp_path / "film.png"
    path.write_bytes(encode("PNG"))
    path.chmod(0)
    with pytest.raises(CXRReadError, match="may not be read"):
        read_cxr(path)


def test_several_files_are_not_one_image(tmp_path):
    (tmp_path / "film.png").write_bytes(encode("PNG"))
    reader = CXRReader()
    with pytest.raises(CXRReadError, match="together with 1 more"):
        reader.get_data(reader.read([tmp_path / "film.png"] * 2))
    with pytest.raises(CXRReadError, match="no file"):
        reader.get_data(reader.read([]))


DICOM_REFUSED = {
    "no rows": ({"Rows": None}, "no Rows"),
    "no columns": ({"Columns": None}, "no Columns"),
    "rows too large": ({"Rows": 32}, "truncated or has wrong rows"),
    "rows too small": ({"Rows": 29}, "wrong rows or columns or more"),
    "columns too small": ({"Columns": 45}, "wrong rows or columns or more"),
    "huge": ({"Rows": 60000, "Columns": 60000}, "60000 x 60000"),
    "zero rows": ({"Rows": 0}, "0 rows"),
    "no pixel data": ({"PixelData": None}, "no pixel data"),
    "three frames": ({"NumberOfFrames": 3}, "3 frames"),
    "rgb": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour image"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
    "slope 0": ({"RescaleSlope": 0, "RescaleIntercept": 5}, "slope of 0"),
    "32 bits": ({"BitsAllocated": 32}, "32 bits"),
}


@pytest.mark.parametrize("name", DICOM_REFUSED)
def test_impossible_dicom_is_refused(tmp_path, dicom, name):
    elements, cause = DICOM_REFUSED[name]
    path = dicom.save(dicom.make_dicom(dicom.stored_film(), **elements), tmp_path / "film.dcm")
    with pytest.raises(CXRReadError, match=cause):
        read_cxr(path)


@pytest.mark.parametrize(
    ("uid", "cause"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.22", "Enhanced SR"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RT Plan"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "Presentation State"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "PDF"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, dicom, uid, cause):
    ds = dicom.make_dicom(dicom.stored_film(), PixelData=None, SOPClassUID=uid)
    ds.file_meta.MediaStorageSOPClassUID = uid
    path = dicom.save(ds, tmp_path / "film.dcm")
    with pytest.raises(CXRReadError, match=cause):
        read_cxr(path)


@pytest.mark.parametrize("keep", [0.02, 0.1, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_cut_dicom_is_refused(tmp_path, dicom, keep, syntax):
    content = dicom.save(dicom.make_dicom(dicom.stored_film(), syntax=syntax), tmp_path / "film.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CXRReadError):
        read_cxr(tmp_path / "cut.dcm")


def test_deflated_bomb_is_refused(tmp_path, dicom, monkeypatch):
    monkeypatch.setattr("monai_cxrssl.data.reading.dicom.MAX_INFLATED_BYTES", 2**26)
    ds = dicom.make_dicom(dicom.stored_film(), syntax="1.2.840.10008.1.2.1.99")
    content = dicom.save(ds, tmp_path / "film.dcm").read_bytes()
    start = 144 + struct.unpack("<I", content[140:144])[0]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(1 << 24)) for _ in range(6)) + deflate.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[:start] + bomb)
    with pytest.raises(CXRReadError, match="inflates beyond"):
        read_cxr(tmp_path / "bomb.dcm")


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_dicom_without_preamble_or_transfer_syntax_loads(tmp_path, dicom, meta, syntax):
    stored = dicom.stored_film()
    content = dicom.save(dicom.make_dicom(stored, syntax=syntax), tmp_path / "film.dcm").read_bytes()
    start = 132 if meta else 144 + struct.unpack("<I", content[140:144])[0]
    (tmp_path / "bare").write_bytes(content[start:])
    film, _ = read_cxr(tmp_path / "bare")
    np.testing.assert_allclose(film, stored / 4095.0, atol=3e-7)


@pytest.mark.filterwarnings("ignore")
def test_bit_rot_never_escapes_as_another_error(tmp_path, dicom):
    generator = np.random.default_rng(0)
    contents = [
        dicom.save(dicom.make_dicom(dicom.stored_film()), tmp_path / "film.dcm").read_bytes(),
        PNG[:3000],
        NOISY_JPEG[:3000],
        encode("TIFF"),
    ]
    for content in contents:
        for _ in range(40):
            changed = bytearray(content)
            for position in generator.integers(0, min(len(content), 900), 6):
                changed[position] = generator.integers(0, 256)
            (tmp_path / "rotten").write_bytes(bytes(changed))
            try:
                film, _ = read_cxr(tmp_path / "rotten", max_pixels=4_000_000)
            except CXRReadError:
                continue
            assert np.isfinite(film).all()
            assert film.min() >= 0
            assert film.max() <= 1
