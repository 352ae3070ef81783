# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM intensities against pydicom's own modality and VOI functions in float64."""

from __future__ import annotations

import itertools
import logging
import re

import imagecodecs
import numpy as np
import pytest
from pydicom.pixels import get_encoder
from pydicom.uid import RLELossless

from monai_cxrssl.data import read_cxr, read_cxr_uint
from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.errors import ConfigurationError, CXRReadError

SHAPE = (31, 47)
TOLERANCE = 3e-7  # one float32 rounding of a value below 1

WINDOWS = {
    "none": {},
    "linear": {"WindowCenter": 900, "WindowWidth": 1500},
    "exact": {"WindowCenter": 900.5, "WindowWidth": 0.75, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 700, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "step": {"WindowCenter": 800, "WindowWidth": 1},
    "several": {"WindowCenter": [600, 50], "WindowWidth": [1000, 10]},
}
RESCALES = {
    "none": {},
    "ct": {"RescaleSlope": 1, "RescaleIntercept": -1024},
    "fraction": {"RescaleSlope": 0.37, "RescaleIntercept": 12.5},
    "negative": {"RescaleSlope": -1, "RescaleIntercept": 4095},
}


@pytest.mark.parametrize(
    ("photometric", "signed", "bits", "window", "rescale"),
    list(itertools.product(("MONOCHROME1", "MONOCHROME2"), (False, True), (8, 10, 12, 16), WINDOWS, RESCALES)),
)
def test_intensities_equal_pydicom(tmp_path, photometric, signed, bits, window, rescale, dicom):
    stored = dicom.stored_film(bits, signed)
    ds = dicom.make_dicom(stored, bits, photometric, **WINDOWS[window], **RESCALES[rescale])
    expected = dicom.reference(ds, stored)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    assert film.shape == SHAPE
    assert film.dtype == np.float32
    np.testing.assert_allclose(film, expected, atol=TOLERANCE)
    assert metadata["inverted"] == (photometric == "MONOCHROME1")
    assert metadata["bits_stored"] == bits
    for level_bits, top in ((8, 255), (16, 65535)):
        levels = read_cxr_uint(tmp_path / "film.dcm", bits=level_bits)
        assert levels.dtype == np.dtype(f"uint{level_bits}")
        np.testing.assert_allclose(levels, expected * top, atol=0.5 + 1e-6)


def rising(count: int, bits: int) -> np.ndarray:
    return np.rint((np.linspace(0, 1, count) ** 1.7) * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize(
    ("entries", "first", "bits"),
    [
        (rising(4096, 12), 0, 12),
        (rising(4096, 16)[::-1], 0, 16),  # an inverting LUT
        (rising(256, 8), 500, 8),
        (rising(1000, 14), 1500, 14),
    ],
)
def test_voi_lut_equals_pydicom(tmp_path, photometric, vr, entries, first, bits, dicom):
    stored = dicom.stored_film(12)
    ds = dicom.make_dicom(stored, 12, photometric, VOILUTSequence=[dicom.lut_item(entries, first, bits, vr)])
    ds.WindowCenter, ds.WindowWidth = 100, 50  # the LUT goes first
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    expected = entries[np.clip(stored.astype(int) - first, 0, len(entries) - 1)] / (2.0**bits - 1)
    np.testing.assert_allclose(film, 1 - expected if photometric == "MONOCHROME1" else expected, atol=TOLERANCE)
    assert metadata["window"] == "VOI LUT 0"
    if bits > 8:  # pydicom counts the index in 8 bits as well there, and wraps it round
        np.testing.assert_allclose(film, dicom.reference(ds, stored), atol=TOLERANCE)


def test_packed_eight_bit_lut_loads(tmp_path, dicom):
    entries = np.arange(256, dtype=np.uint8)[::-1]
    item = dicom.lut_item(entries, 0, 8, "OW")
    item.LUTData = entries.tobytes()
    stored = dicom.stored_film(8)
    film, _ = read_cxr(dicom.save(dicom.make_dicom(stored, 8, VOILUTSequence=[item]), tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, 1 - stored / 255.0, atol=TOLERANCE)


@pytest.mark.parametrize("window", ["none", "linear"])
@pytest.mark.parametrize(("signed", "first"), [(False, 0), (True, -2048), (True, 100)])
def test_modality_lut_equals_pydicom(tmp_path, window, signed, first, dicom):
    stored = dicom.stored_film(12, signed)
    sequence = [dicom.lut_item(rising(4096, 16), first, 16)]
    ds = dicom.make_dicom(stored, 12, ModalityLUTSequence=sequence, **WINDOWS[window])
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, dicom.reference(ds, stored), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_presentation_lut_shape(tmp_path, photometric, shape, inverted, dicom):
    stored = dicom.stored_film()
    ds = dicom.make_dicom(stored, photometric=photometric, PresentationLUTShape=shape)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    unit = stored / 4095.0
    np.testing.assert_allclose(film, 1 - unit if inverted else unit, atol=TOLERANCE)
    assert metadata["inverted"] is inverted


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("first", (600, 1000)),
        (0, (600, 1000)),
        (1, (2000, 3000)),
        ([1200, 400], (1200, 400)),
        ((1200.0, 400.0), (1200, 400)),
        (None, None),
        ("none", None),
    ],
)
def test_window_argument(tmp_path, window, expected, dicom):
    stored = dicom.stored_film()
    ds = dicom.make_dicom(stored, WindowCenter=[600, 2000], WindowWidth=[1000, 3000])
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"), window=window)
    if expected is not None:
        ds.WindowCenter, ds.WindowWidth = expected
    np.testing.assert_allclose(film, dicom.reference(ds, stored, use_window=expected is not None), atol=TOLERANCE)
    assert metadata["window"].startswith("min-max" if expected is None else "LINEAR")


def test_window_that_the_file_lacks_is_refused(tmp_path, dicom):
    path = dicom.save(dicom.make_dicom(dicom.stored_film(), WindowCenter=600, WindowWidth=1000), tmp_path / "film.dcm")
    with pytest.raises(CXRReadError, match="number 3"):
        read_cxr(path, window=3)


@pytest.mark.parametrize("window", ["last", -1, True, [1, 2, 3], [5, 0], ["a", "b"]])
def test_impossible_window_is_an_error_of_configuration(tmp_path, window):
    with pytest.raises(ConfigurationError, match="window"):
        read_cxr(tmp_path / "film.dcm", window=window)


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_window_below_one_is_left_out_with_a_warning(tmp_path, caplog, width, dicom):
    stored = dicom.stored_film()
    path = dicom.save(dicom.make_dicom(stored, WindowCenter=600, WindowWidth=width), tmp_path / "film.dcm")
    with caplog.at_level(logging.WARNING):
        film, metadata = read_cxr(path)
    np.testing.assert_allclose(film, stored / 4095.0, atol=TOLERANCE)
    assert "left out" in metadata["warnings"][0]
    assert "left out" in caplog.text


@pytest.mark.parametrize("value", [None, "", "MONO"])
def test_photometric_interpretation_missing_or_junk(tmp_path, value, dicom):
    stored = dicom.stored_film()
    ds = dicom.make_dicom(stored, PhotometricInterpretation=value)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, stored / 4095.0, atol=TOLERANCE)
    assert "taken for MONOCHROME2" in metadata["warnings"][0]


@pytest.mark.parametrize("signed", [False, True])
def test_overlay_bits_are_masked_off(tmp_path, signed, dicom):
    stored = dicom.stored_film(12, signed)
    dirty = (stored.view(np.uint16) & 0x0FFF) | (np.random.default_rng(1).integers(0, 16, SHAPE) << 12).astype(
        np.uint16
    )
    ds = dicom.make_dicom(dirty.view(stored.dtype), 12)
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, dicom.reference(ds, stored), atol=TOLERANCE)


def test_stored_bits_at_the_top_of_the_word(tmp_path, dicom):
    stored = dicom.stored_film(12)
    ds = dicom.make_dicom((stored << 4).astype(np.uint16), 12, HighBit=15)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, stored / 4095.0, atol=TOLERANCE)
    assert metadata["warnings"]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("signed", "padding", "limit"), [(False, 4095, None), (False, 0, 40), (True, -2000, None), (True, -2048, -1990)]
)
def test_padding_is_background(tmp_path, photometric, signed, padding, limit, dicom):
    stored = np.clip(dicom.stored_film(12, signed), -1500 if signed else 60, 1500 if signed else 3000).astype(
        np.int16 if signed else np.uint16
    )
    stored[:5] = padding
    stored[5, :3] = padding if limit is None else limit
    ds = dicom.make_dicom(stored, 12, photometric)
    ds.add_new("PixelPaddingValue", "SS" if signed else "US", padding)
    if limit is not None:
        ds.add_new("PixelPaddingRangeLimit", "SS" if signed else "US", limit)
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    low, high = min(padding, limit or padding), max(padding, padding if limit is None else limit)
    outside = (stored >= low) & (stored <= high)
    inside = stored[~outside].astype(np.float64)
    unit = (inside - inside.min()) / (inside.max() - inside.min())
    assert (film[outside] == 0).all()
    np.testing.assert_allclose(film[~outside], unit if photometric == "MONOCHROME2" else 1 - unit, atol=TOLERANCE)


def test_missing_intercept_loads_and_warns(tmp_path, dicom):
    stored = dicom.stored_film()
    film, metadata = read_cxr(dicom.save(dicom.make_dicom(stored, RescaleSlope=2), tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, stored / 4095.0, atol=TOLERANCE)
    assert "intercept missing" in metadata["warnings"][0]


@pytest.mark.parametrize("value", [0, 7, 65535])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_one_value_loads_as_black(tmp_path, value, photometric, dicom):
    ds = dicom.make_dicom(np.full((9, 13), value, np.uint16), 16, photometric)
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    assert not film.any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 512)])
def test_small_films_load(tmp_path, shape, dicom):
    stored = dicom.stored_film(12, shape=shape)
    film, _ = read_cxr(dicom.save(dicom.make_dicom(stored, WindowCenter=2048, WindowWidth=4096), tmp_path / "film.dcm"))
    assert film.shape == shape


def compressed(coding: str, stored: np.ndarray) -> tuple[str, bytes]:
    if coding == "rle":
        options = {"rows": stored.shape[0], "columns": stored.shape[1], "bits_allocated": 16, "bits_stored": 12}
        frame = get_encoder(RLELossless).encode(
            stored.tobytes(),
            samples_per_pixel=1,
            pixel_representation=0,
            number_of_frames=1,
            photometric_interpretation="MONOCHROME2",
            **options,
        )
        return "1.2.840.10008.1.2.5", frame
    if coding == "jpeg lossless":
        return "1.2.840.10008.1.2.4.70", imagecodecs.ljpeg_encode(stored, bitspersample=12)
    if coding == "jpeg-ls":
        return "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode(stored)
    return "1.2.840.10008.1.2.4.90", imagecodecs.jpeg2k_encode(
        stored, level=0, codecformat="j2k", reversible=True, bitspersample=12
    )


CODINGS = ["rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("said", ["right", "missing", "wrong"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_compressed_transfer_syntaxes(tmp_path, coding, said, dicom):
    stored = dicom.stored_film(12, shape=(61, 84))
    syntax, frame = compressed(coding, stored)
    ds = dicom.make_dicom(stored, 12, "MONOCHROME1", syntax=syntax, frame=frame)
    path = dicom.save(ds, tmp_path / "film.dcm")
    if said != "right":
        # Rewritten in the bytes of the file, since pydicom would not write it so.
        content = path.read_bytes()
        old = syntax.encode() + b"\0" * (len(syntax) % 2)
        new = b"1.2.840.10008.1.2.4.51" if said == "wrong" else b"1.2.3"
        path.write_bytes(content.replace(old, new.ljust(len(old), b"\0")[: len(old)], 1))
    film, metadata = read_cxr(path)
    np.testing.assert_allclose(film, 1 - stored / 4095.0, atol=TOLERANCE)
    assert bool(metadata["warnings"]) == (said != "right")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_cut_streams_are_refused(tmp_path, coding, keep, dicom):
    stored = dicom.stored_film(12, shape=(61, 84))
    syntax, frame = compressed(coding, stored)
    cut = frame[: int(len(frame) * keep) // 2 * 2]
    for stream in (cut, cut + b"\xff\xd9"):
        path = dicom.save(dicom.make_dicom(stored, 12, syntax=syntax, frame=stream), tmp_path / "film.dcm")
        with pytest.raises(CXRReadError, match="truncated|damaged"):
            read_cxr(path)


def test_jpeg_baseline(tmp_path, dicom):
    stored = np.add.outer(np.arange(64), np.arange(90)).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(stored, level=95)
    path = dicom.save(dicom.make_dicom(stored, 8, syntax="1.2.840.10008.1.2.4.50", frame=frame), tmp_path / "film.dcm")
    decoded = imagecodecs.jpeg8_decode(frame).astype(np.float64)
    film, _ = read_cxr(path)
    low, high = decoded.min(), decoded.max()
    np.testing.assert_allclose(film, (decoded - low) / (high - low), atol=TOLERANCE)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]
)
@pytest.mark.parametrize("bits", [8, 12])
def test_native_transfer_syntaxes(tmp_path, syntax, bits, dicom):
    stored = dicom.stored_film(bits)
    ds = dicom.make_dicom(stored, bits, syntax=syntax)
    if bits == 8 and syntax.endswith(".2.2"):
        data = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()  # OW words are swapped as words
        ds.PixelData = data
        ds["PixelData"].VR = "OW"
    film, _ = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, stored / (2.0**bits - 1), atol=TOLERANCE)


def test_encapsulated_frames_as_long_as_native_ones(tmp_path, dicom):
    """Their bytes are no pixels."""
    stored = np.full((7, 8), 55746, np.uint16)
    syntax, frame = dicom.coded("rle", stored)
    ds = dicom.make_dicom(stored, syntax=syntax, frame=frame, BitsStored=16, HighBit=15)
    assert len(ds.PixelData) == stored.nbytes
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    assert len(np.unique(film)) == 1
    assert metadata["warnings"] == []


def test_a_stream_cut_to_the_length_of_native_pixels_is_refused(tmp_path, dicom):
    stored = np.random.default_rng(0).integers(0, 65536, (40, 40)).astype(np.uint16)
    syntax, frame = dicom.coded("rle", stored)  # noise takes more than it saves
    ds = dicom.make_dicom(stored, syntax=syntax, frame=frame, BitsStored=16, HighBit=15)
    assert len(ds.PixelData) > stored.nbytes
    body = dicom.save(ds, tmp_path / "film.dcm").read_bytes()
    start = body.index(ds.PixelData[:64])
    (tmp_path / "film.dcm").write_bytes(body[: start + stored.nbytes])
    with pytest.raises(CXRReadError):
        read_cxr(tmp_path / "film.dcm")


@pytest.mark.parametrize("head", ["feff00e0", "feff00e000000000", "feff00e004000000", "feff00e0ffffffff"])
def test_native_pixels_that_begin_as_an_item(tmp_path, head, dicom):
    stored = dicom.stored_film(16)
    start = np.frombuffer(bytes.fromhex(head), "<u2")
    stored[0, : start.size] = start
    film, metadata = read_cxr(dicom.save(dicom.make_dicom(stored, 16), tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, dicom.own_range(stored), atol=TOLERANCE)
    assert metadata["warnings"] == []


def test_two_pixels_that_are_an_item_tag(tmp_path, dicom):
    stored = np.frombuffer(bytes.fromhex("feff00e0"), "<u2").reshape(1, 2)
    film, _ = read_cxr(dicom.save(dicom.make_dicom(stored, 16), tmp_path / "film.dcm"))
    np.testing.assert_array_equal(film, [[1, 0]])


def test_metadata_is_an_allow_list(tmp_path, dicom):
    path = dicom.save(dicom.make_dicom(dicom.stored_film(), WindowCenter=2000, WindowWidth=4000), tmp_path / "film.dcm")
    _, metadata = read_cxr(path)
    expected = {
        "filename_or_obj": str(path),
        "spatial_shape": SHAPE,
        "original_channel_dim": 0,
        "spacing": (0.2, 0.3),
        "view_position": "PA",
        "patient_id": "P7",
        "study_id": "1.2.3",
        "photometric_interpretation": "MONOCHROME2",
        "bits_stored": 12,
        "modality": "CR",
        "inverted": False,
        "window": "LINEAR 2000 4000",
        "warnings": [],
    }
    affine = metadata.pop("affine")
    assert metadata == expected
    np.testing.assert_allclose(affine, [[0, -0.3, 0, 0], [-0.2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    header = read_dicom_header(path)
    assert all(re.fullmatch("[0-9a-f]{16}", header.pop(f"{name}_digest")) for name in ("name", "birth_date"))
    assert header == {
        "patient_id": "P7",
        "study_id": "1.2.3",
        "view_position": "PA",
        "modality": "CR",
        "sex": "F",
        "age": 71.0,
        "rows": SHAPE[0],
        "columns": SHAPE[1],
        "patient_orientation": (),
        "sop_class": "a DICOM Computed Radiography Image Storage",
        "has_pixels": True,
    }
    assert not any("Doe" in str(value) or "1950" in str(value) for value in [*metadata.values(), *header.values()])


def test_max_side_averages_areas(tmp_path, dicom):
    stored = np.add.outer(np.arange(200) * 5, np.arange(300) * 7).astype(np.uint16)
    path = dicom.save(dicom.make_dicom(stored, 12), tmp_path / "film.dcm")
    whole, _ = read_cxr(path)
    small, metadata = read_cxr(path, max_side=100)
    assert small.shape == (67, 100)
    np.testing.assert_allclose(metadata["spacing"], (0.2 * 200 / 67, 0.9))
    assert abs(small.mean() - whole.mean()) < 1e-3
    assert read_cxr_uint(path, max_side=100).shape == (67, 100)
    assert read_cxr(path, max_side=1000)[0].shape == (200, 300)


def test_jpeg_2000_at_reduced_resolution(tmp_path, dicom):
    rows, columns = np.mgrid[0:257, 0:401]
    stored = (2000 + 1500 * np.sin(rows / 40) * np.cos(columns / 60)).astype(np.uint16)
    syntax, frame = compressed("jpeg 2000", stored)
    options = {"WindowCenter": 2048, "WindowWidth": 4096}
    path = dicom.save(dicom.make_dicom(stored, 12, syntax=syntax, frame=frame, **options), tmp_path / "film.dcm")
    raw = dicom.save(dicom.make_dicom(stored, 12, **options), tmp_path / "raw.dcm")
    small, metadata = read_cxr(path, max_side=100)
    expected, expected_metadata = read_cxr(raw, max_side=100)
    assert metadata["spatial_shape"] == expected_metadata["spatial_shape"] == (64, 100)
    np.testing.assert_allclose(small, expected, atol=0.02)
