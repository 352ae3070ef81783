# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Headers and files made for other pixels than those they hold: an image is read as it looks, or it is said."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from monai_cxrssl.data import audit_datalists, build_cache, read_cxr
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.errors import CXRReadError

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS, COLUMNS = np.mgrid[0:96, 0:120]
# Smooth, of no symmetry, 12 bits without its uppermost values.
FILM = (1800 + 1700 * np.sin(ROWS / 31) * np.cos(COLUMNS / 40 + 0.4)).astype(np.uint16)


def unit(values: np.ndarray) -> np.ndarray:
    return (values.astype(float) - values.min()) / np.ptp(values.astype(float))


def kinds(metadata: dict) -> list[str]:
    return [note.kind for note in metadata["warnings"]]


@pytest.mark.parametrize(
    ("pixels", "bits", "elements"),
    [
        (FILM, 12, {"WindowCenter": 32767, "WindowWidth": 65535}),
        ((FILM >> 4).astype(np.uint8), 8, {"WindowCenter": 2048, "WindowWidth": 4096}),
        (FILM // 2 + 2000, 12, {"WindowCenter": 40, "WindowWidth": 400}),
        (FILM // 2 + 2000, 12, {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}),
        (FILM, 12, {"WindowCenter": 1, "WindowWidth": 2, "VOILUTFunction": "LINEAR_EXACT"}),
        (FILM, 12, {"WindowCenter": 500, "WindowWidth": 900, "RescaleSlope": 1, "RescaleIntercept": 20000}),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_for_other_pixels_gives_way(tmp_path, dicom, pixels, bits, elements, photometric):
    path = dicom.save(dicom.make_dicom(pixels, bits, photometric, **elements), tmp_path / "film.dcm")
    film, metadata = read_cxr(path)
    expected = unit(pixels)
    np.testing.assert_allclose(film, 1 - expected if photometric == "MONOCHROME1" else expected, atol=3e-7)
    assert kinds(metadata) == ["range_replaced"]
    # A window that is asked for stays.
    center, width = elements["WindowCenter"], elements["WindowWidth"]
    film, metadata = read_cxr(path, window=[center, width])
    assert kinds(metadata) == ["range"]
    assert metadata["window"].endswith("(given)")


def test_the_audit_lists_films_whose_range_was_replaced(tmp_path, dicom):
    wide = dicom.make_dicom(FILM, WindowCenter=32767, WindowWidth=65535)
    turned = dicom.make_dicom(FILM[:, ::-1].copy(), PatientOrientation=["R", "F"])
    paths = [str(dicom.save(ds, tmp_path / f"{name}.dcm")) for name, ds in (("wide", wide), ("turned", turned))]
    items = [{"image": path, "patient_id": str(number)} for number, path in enumerate(paths)]
    datalist = Datalist(name="films", splits={"training": items})
    build_cache(datalist, tmp_path / "cache", side=32, progress=False)
    for cache in (None, tmp_path / "cache"):
        found = audit_datalists([datalist], progress=False, cache_dir=cache).findings
        notes = {finding.kind: finding.items for finding in found}
        assert notes["range_replaced"] == (paths[0],)
        assert notes["reading_turned"] == (paths[1],)


@pytest.mark.parametrize("entries_bits", [8, 10, 12, 15])
def test_a_lut_descriptor_wider_than_its_entries(tmp_path, dicom, entries_bits):
    entries = np.linspace(0, 2**entries_bits - 1, 4096).astype(np.uint16)
    ds = dicom.make_dicom(FILM, VOILUTSequence=[dicom.lut_item(entries, 0, 16)])
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, entries[FILM] / (2**entries_bits - 1), atol=3e-7)
    assert kinds(metadata) == ["lut_bits"]


def test_a_lut_with_fewer_entries_than_promised(tmp_path, dicom):
    item = dicom.lut_item(np.arange(4096, dtype=np.uint16) * 16, 0, 16)
    item.LUTDescriptor = [0, 0, 16]  # 65,536 of them
    film, _ = read_cxr(dicom.save(dicom.make_dicom(FILM, VOILUTSequence=[item]), tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, FILM * 16 / 65535.0, atol=3e-7)


@pytest.mark.parametrize("group", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_window_rescale_and_orientation_in_functional_groups(tmp_path, dicom, group):
    voi, rescale, side, item = Dataset(), Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 1000, 1500
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -500, "US"
    side.PatientOrientation = ["R", "F"]
    item.FrameVOILUTSequence, item.PixelValueTransformationSequence = [voi], [rescale]
    item.PatientOrientationInFrameSequence = [side]
    ds = dicom.make_dicom(FILM[:, ::-1].copy(), NumberOfFrames=1, **{group: [item]})
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, np.clip((FILM - 500.0 - 999.5) / 1499 + 0.5, 0, 1), atol=3e-7)
    assert metadata["window"] == "LINEAR 1000 1500"


SHUTTERS = {
    "rectangle": (
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 11, "ShutterRightVerticalEdge": 100,
         "ShutterUpperHorizontalEdge": 21, "ShutterLowerHorizontalEdge": 80},
        (COLUMNS >= 10) & (COLUMNS < 100) & (ROWS >= 20) & (ROWS < 80),
    ),
    "circle": (
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [48, 60], "RadiusOfCircularShutter": 40},
        (ROWS - 47) ** 2 + (COLUMNS - 59) ** 2 <= 1600,
    ),
    "polygon": (
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 1, 91, 91, 1]},
        ROWS + COLUMNS <= 90,
    ),
    "all": (
        {"ShutterShape": ["RECTANGULAR", "CIRCULAR"], "ShutterLeftVerticalEdge": 11, "ShutterRightVerticalEdge": 100,
         "ShutterUpperHorizontalEdge": 21, "ShutterLowerHorizontalEdge": 80, "CenterOfCircularShutter": [48, 60],
         "RadiusOfCircularShutter": 40},
        (COLUMNS >= 10) & (COLUMNS < 100) & (ROWS >= 20) & (ROWS < 80) & ((ROWS - 47) ** 2 + (COLUMNS - 59) ** 2 <= 1600),
    ),
}  # fmt: skip


@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", SHUTTERS)
def test_display_shutters_hide_and_set_no_range(tmp_path, dicom, name, photometric, value):
    elements, visible = SHUTTERS[name]
    pixels = np.where(visible, FILM, 4095).astype(np.uint16)
    ds = dicom.make_dicom(pixels, 12, photometric, ShutterPresentationValue=value, **elements)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    inside = unit(FILM[visible])
    np.testing.assert_allclose(film[visible], 1 - inside if photometric == "MONOCHROME1" else inside, atol=3e-7)
    assert (film[~visible] == value / 65535).all()
    assert metadata["warnings"] == []


def test_a_shutter_that_hides_all_is_left_out(tmp_path, dicom):
    elements = {
        "ShutterShape": ["CIRCULAR", "OVAL"],
        "CenterOfCircularShutter": [900, 900],
        "RadiusOfCircularShutter": 3,
    }
    film, metadata = read_cxr(dicom.save(dicom.make_dicom(FILM, **elements), tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, unit(FILM), atol=3e-7)
    assert kinds(metadata) == ["shutter", "shutter"]


STORED = {  # Patient Orientation: how the upright image, its rows to the left and columns to the feet, is stored
    ("L", "F"): lambda film: film,
    ("R", "F"): lambda film: film[:, ::-1],
    ("L", "H"): lambda film: film[::-1],
    ("R", "H"): lambda film: film[::-1, ::-1],
    ("F", "L"): lambda film: film.T,
    ("F", "R"): lambda film: np.rot90(film),
    ("H", "L"): lambda film: np.rot90(film, -1),
    ("H", "R"): lambda film: film[::-1, ::-1].T,
    # Lateral images are rotated, never mirrored.
    ("A", "F"): lambda film: film,
    ("P", "F"): lambda film: film,
    ("A", "H"): lambda film: film[::-1, ::-1],
    ("F", "A"): lambda film: np.rot90(film),
    ("H", "P"): lambda film: np.rot90(film, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_a_film_is_turned_upright(tmp_path, dicom, orientation):
    ds = dicom.make_dicom(np.ascontiguousarray(STORED[orientation](FILM)), PatientOrientation=list(orientation))
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, unit(FILM), atol=3e-7)
    assert metadata["spatial_shape"] == FILM.shape
    assert metadata["spacing"] == ((0.3, 0.2) if orientation[0] in "HF" else (0.2, 0.3))
    assert kinds(metadata) == ([] if orientation in (("L", "F"), ("A", "F"), ("P", "F")) else ["turned"])


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")])
def test_contradicting_photometric_elements_are_said(tmp_path, dicom, photometric, shape):
    ds = dicom.make_dicom(FILM, photometric=photometric, PresentationLUTShape=shape)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, 1 - unit(FILM), atol=3e-7)
    assert kinds(metadata) == ["photometric"]


CODINGS = ["native", "rle", "jpeg lossless", "jpeg-ls", "jpeg 2000"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("words", "elements"),
    [
        ((FILM << 4).astype(np.uint16), {"HighBit": 15}),
        ((FILM * 9).astype(np.uint16), {}),  # 15 bits although the header says 12
        ((FILM | ((ROWS * 7 + COLUMNS * 3) % 16 << 12)).astype(np.uint16), {}),  # marks without an overlay element
    ],
    ids=["high bit", "too few bits", "bits above"],
)
def test_bits_above_the_stored_ones_in_every_coding(tmp_path, dicom, coding, words, elements):
    syntax, frame = dicom.coded(coding, words)
    ds = dicom.make_dicom(words, 12, syntax=syntax, frame=frame, **elements)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, unit(FILM), atol=3e-7)
    assert kinds(metadata) == ["bits"]


@pytest.mark.parametrize("coding", ["jpeg lossless", "jpeg-ls", "jpeg 2000"])
def test_a_stream_of_fewer_bits_than_the_header_says(tmp_path, dicom, coding):
    eight = (FILM >> 4).astype(np.uint8)
    frame = {
        "jpeg lossless": lambda: imagecodecs.ljpeg_encode(eight),
        "jpeg-ls": lambda: imagecodecs.jpegls_encode(eight),
        "jpeg 2000": lambda: imagecodecs.jpeg2k_encode(eight, level=0, codecformat="j2k", reversible=True),
    }[coding]()
    ds = dicom.make_dicom(FILM, 12, syntax=dicom.coded(coding, FILM)[0], frame=frame)
    film, metadata = read_cxr(dicom.save(ds, tmp_path / "film.dcm"))
    np.testing.assert_allclose(film, unit(eight), atol=3e-7)
    assert kinds(metadata) == ["bits"]


@pytest.mark.parametrize("mark", [slice(0, 8), slice(0, 1)])
@pytest.mark.parametrize("extension", ["png", "tif", "float.tif", "dcm"])
def test_a_burnt_in_marker_sets_no_range(tmp_path, dicom, extension, mark):
    marked = FILM.copy()
    marked[mark, :30] = 65535
    path = tmp_path / f"film.{extension}"
    if extension == "dcm":
        dicom.save(dicom.make_dicom(marked, 16), path)
    elif extension == "float.tif":
        tifffile.imwrite(path, marked.astype(np.float32))
    else:
        Image.fromarray(marked).save(path)
    film, metadata = read_cxr(path)
    inside = np.ones(FILM.shape, bool)
    inside[mark, :30] = False
    np.testing.assert_allclose(film[inside], unit(FILM[inside]), atol=1e-6)
    assert (film[~inside] == 1).all()
    assert kinds(metadata) == ["range_replaced"]
    np.testing.assert_allclose(read_cxr(path, window=None)[0], unit(marked), atol=1e-6)


GREY = (FILM >> 4).astype(np.uint8)
RGB = np.repeat(GREY[..., None], 3, axis=2)


def colour_dicom(dicom, data: bytes, photometric: str, syntax: str = "1.2.840.10008.1.2.1", **elements):
    ds = dicom.make_dicom(GREY, 8, photometric, SamplesPerPixel=elements.pop("samples", 3), PlanarConfiguration=0)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = data if syntax.endswith(".2.1") else encapsulate([data])
    ds["PixelData"].VR = "OB"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def jpeg(pixels: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["rgb", "planar", "ybr", "ybr 422", "jpeg", "jpeg-ls", "jpeg 2000", "palette"])
@pytest.mark.parametrize("mark", [False, True])
def test_grey_saved_in_colour_is_read_and_colour_refused(tmp_path, dicom, kind, mark):
    rgb = RGB.copy()
    if mark:
        rgb[10:16, 20:28] = (250, 20, 20)
    ybr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    palette = {}
    if kind == "palette":
        for number, name in enumerate(("Red", "Green", "Blue")):
            entries = np.arange(256, dtype=np.uint16) * 257
            entries[200] = entries[200] if number == 0 or not mark else 0
            palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            palette[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    data, photometric, syntax = {
        "rgb": lambda: (rgb.tobytes(), "RGB", "1.2.840.10008.1.2.1"),
        "planar": lambda: (np.moveaxis(rgb, 2, 0).tobytes(), "RGB", "1.2.840.10008.1.2.1"),
        "ybr": lambda: (ybr.tobytes(), "YBR_FULL", "1.2.840.10008.1.2.1"),
        "ybr 422": lambda: (
            np.dstack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]]).tobytes(),
            "YBR_FULL_422", "1.2.840.10008.1.2.1",
        ),
        "jpeg": lambda: (jpeg(rgb), "YBR_FULL_422", "1.2.840.10008.1.2.4.50"),
        "jpeg-ls": lambda: (imagecodecs.jpegls_encode(rgb), "RGB", "1.2.840.10008.1.2.4.80"),
        "jpeg 2000": lambda: (
            imagecodecs.jpeg2k_encode(rgb, level=0, codecformat="j2k", reversible=True), "YBR_RCT",
            "1.2.840.10008.1.2.4.90",
        ),
        "palette": lambda: (GREY.tobytes(), "PALETTE COLOR", "1.2.840.10008.1.2.1"),
    }[kind]()  # fmt: skip
    ds = colour_dicom(dicom, data, photometric, syntax, samples=1 if palette else 3, **palette)
    ds.PlanarConfiguration = int(kind == "planar")
    path = dicom.save(ds, tmp_path / "film.dcm")
    if mark:
        with pytest.raises(CXRReadError, match="is a colour image"):
            read_cxr(path)
        return
    film, metadata = read_cxr(path)
    np.testing.assert_allclose(film * 255, GREY, atol={"jpeg": 4, "ybr": 1.01, "ybr 422": 1.01}.get(kind, 1e-4))
    assert metadata["warnings"] == []


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    sound = stream.getvalue()
    return sound[:33] + b"".join(chunks) + sound[33:]


LONG = zlib.compress(b"x" * 3_000_000)


@pytest.mark.parametrize(
    "content",
    [
        png_with(chunk(b"zTXt", b"Raw profile\0\0" + LONG)),
        png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG)),
        png_with(chunk(b"eXIf", b"nonsense")),
        png_with(chunk(b"zTXt", b"Raw profile\0\0" + LONG), chunk(b"eXIf", b"nonsense")),
        png_with(chunk(b"iCCP", b"profile\0\0" + LONG)),
        png_with(chunk(b"pHYs", b"\0"), chunk(b"gAMA", b""), chunk(b"cHRM", b"\0\0")),
    ],
)
def test_metadata_do_not_spoil_a_sound_png(tmp_path, content):
    (tmp_path / "film.png").write_bytes(content)
    film, metadata = read_cxr(tmp_path / "film.png")
    np.testing.assert_allclose(film * 255, GREY, atol=1e-4)
    assert set(kinds(metadata)) <= {"metadata"}


DEEP = (FILM * 16).astype(np.uint16)
TIFFS = {
    "float64": (DEEP / 65535.0, {}),
    "float16": ((DEEP / 65535.0).astype(np.float16), {}),
    "grey and alpha": (
        np.stack([DEEP, np.full_like(DEEP, 65535)], -1), {"extrasamples": ["unassalpha"], "photometric": "minisblack"},
    ),
    "jpeg 2000": (DEEP, {"compression": "jpeg2000"}),
    "zstd": (DEEP, {"compression": "zstd", "predictor": True}),
    "lzw tiles": (DEEP, {"compression": "lzw", "tile": (32, 32)}),
    "deflate float64": (DEEP.astype(np.float64), {"compression": "zlib", "rowsperstrip": 7}),
    "jpeg xl": (DEEP, {"compression": "jpegxl"}),
    "bigtiff": (DEEP, {"bigtiff": True}),
    "planar": (np.stack([DEEP] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
    "rgb 16 tiles": (np.stack([DEEP] * 3, -1), {"photometric": "rgb", "tile": (32, 48)}),
    "int64": (DEEP.astype(np.int64) - 9, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TIFFS)
def test_sound_tiff_of_rare_kinds(tmp_path, name):
    pixels, options = TIFFS[name]
    tifffile.imwrite(tmp_path / "film.tif", pixels, **({"photometric": "minisblack"} | options))
    film, _ = read_cxr(tmp_path / "film.tif")
    np.testing.assert_allclose(film, unit(DEEP), atol=1e-3 if name == "float16" else 1e-6)
    content = (tmp_path / "film.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(CXRReadError, match="TIFF"):
        read_cxr(tmp_path / "cut.tif")


def test_a_thumbnail_in_a_tiff_is_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "film.tif") as file:
        file.write(DEEP[::4, ::4].copy(), photometric="minisblack", subfiletype=1)
        file.write(DEEP, photometric="minisblack")
    film, metadata = read_cxr(tmp_path / "film.tif")
    np.testing.assert_allclose(film, unit(DEEP), atol=1e-6)
    assert kinds(metadata) == ["pictures"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (imagecodecs.ljpeg_encode(FILM, bitspersample=12), unit(FILM)),
        (imagecodecs.jpegls_encode(FILM), unit(FILM)),
        (imagecodecs.ljpeg_encode(GREY), GREY / 255),
        (imagecodecs.jpeg8_encode(FILM, level=100, bitspersample=12), unit(FILM)),
        (jpeg(GREY) + b"\0\0\0\x18ftypmp42" + bytes(range(1, 250)) * 400, GREY / 255),
        (jpeg(GREY, progressive=True) + b"\0\0\0\x18ftypmp42" + bytes(range(1, 250)) * 400, GREY / 255),
        (jpeg(GREY) + jpeg(GREY[::4, ::4].copy()), GREY / 255),
    ],
    ids=["lossless 12", "jpeg-ls", "lossless 8", "12 bits", "motion photo", "progressive motion photo", "preview"],
)
def test_sound_jpeg_of_rare_kinds(tmp_path, content, expected):
    (tmp_path / "film.jpg").write_bytes(content)
    film, _ = read_cxr(tmp_path / "film.jpg")
    np.testing.assert_allclose(film, expected, atol=0.02)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1", "a HEIC image|an AVIF image"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "an AVIF image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video"),
        (b"P5\n3 3\n255\n", "a PGM image"),
    ],
)
def test_formats_with_a_sentence_of_their_own(tmp_path, head, kind):
    (tmp_path / "film").write_bytes(head + bytes(500))
    with pytest.raises(CXRReadError, match=kind) as caught:
        read_cxr(tmp_path / "film")
    assert caught.value.remedy
