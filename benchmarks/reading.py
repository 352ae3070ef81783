# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time to read one image: this package against MONAI's readers and bare pydicom, per format.

    python benchmarks/reading.py [--side 2000] [--repeats 7] [--out reading.json]

Makes its own synthetic images (smooth shapes and detector noise, 12 of 16 bits, MONOCHROME1, one window) in a temporary
folder, reads each once to warm the file cache, then takes the median of ``--repeats`` reads, the readers taking turns.
Every reader runs in this process with one thread. MONAI's readers give stored or rescaled values; only this package
also applies the window and the inversion. A reader that cannot read a format shows a dash.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import judged, print_targets

__all__ = ["main"]

_PACKAGES = (
    "monai",
    "pydicom",
    "numpy",
    "opencv-python-headless",
    "Pillow",
    "itk-core",
    "imagecodecs",
    "nibabel",
    "torch",
)


def synthetic_film(side: int) -> np.ndarray:
    """Return uint16 ``(side, side)`` of 12 bits that compresses about as well as a radiograph."""
    generator = np.random.default_rng(0)
    shapes = cv2.GaussianBlur(generator.random((side, side), dtype=np.float32), (0, 0), side / 60)
    shapes = (shapes - shapes.min()) / (shapes.max() - shapes.min())
    return np.clip(shapes * 3800 + 100 + generator.normal(0, 8, shapes.shape), 0, 4095).astype(np.uint16)


def write_dicom(path: Path, pixels: np.ndarray, syntax: str, data: bytes | bytearray | None = None) -> None:
    """Write a computed-radiography file; ``data`` is the compressed frame of an encapsulated syntax."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, ComputedRadiographyImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.PatientName = "CR", "1", ""
    ds.StudyInstanceUID = ds.SeriesInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 3000
    ds.PixelSpacing = [0.2, 0.2]
    ds.PixelData = pixels.tobytes() if data is None else encapsulate([bytes(data)])
    ds["PixelData"].VR = "OW" if data is None else "OB"
    ds.save_as(path, enforce_file_format=True)


def make_files(folder: Path, side: int) -> dict[str, Path]:
    """Write one image in every format that is compared."""
    import imagecodecs
    import nibabel
    from PIL import Image
    from pydicom.pixels import get_encoder
    from pydicom.uid import RLELossless

    film = synthetic_film(side)
    eight = (film >> 4).astype(np.uint8)
    rle = get_encoder(RLELossless).encode(
        film.tobytes(),
        rows=side,
        columns=side,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME1",
    )
    lossless = imagecodecs.jpeg2k_encode(film, level=0, codecformat="j2k", reversible=True, bitspersample=12)
    streams = {
        "DICOM": ("1.2.840.10008.1.2.1", None),
        "DICOM RLE": ("1.2.840.10008.1.2.5", rle),
        "DICOM JPEG lossless": ("1.2.840.10008.1.2.4.70", imagecodecs.ljpeg_encode(film, bitspersample=12)),
        "DICOM JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode(film)),
        "DICOM JPEG 2000": ("1.2.840.10008.1.2.4.90", lossless),
    }
    files: dict[str, Path] = {}
    for name, (syntax, data) in streams.items():
        files[name] = folder / f"{name.replace(' ', '_')}.dcm"
        write_dicom(files[name], film, syntax, data)
    small = cv2.resize(eight, (512, 512), interpolation=cv2.INTER_AREA)
    for name, pixels in (("PNG 16 bit", film), ("PNG 8 bit", eight), ("JPEG", eight), ("JPEG 512 px", small)):
        files[name] = folder / f"{name.replace(' ', '_')}.{'jpg' if 'JPEG' in name else 'png'}"
        Image.fromarray(pixels).save(files[name], quality=92)
    files["NIfTI"] = folder / "film.nii"
    nibabel.save(nibabel.Nifti1Image(film.T, np.diag([-0.2, -0.2, 1, 1])), files["NIfTI"])
    return files


def make_readers() -> dict[str, Callable[[str], Any]]:
    """Return the readers that are compared, by the name of their column."""
    import pydicom
    from monai.data import PydicomReader
    from monai.transforms import LoadImage

    from monai_cxrssl.data import CXRReader, read_cxr, read_cxr_uint

    return {
        "read_cxr_uint": read_cxr_uint,
        "read_cxr_uint 512": lambda path: read_cxr_uint(path, max_side=512),
        "read_cxr": read_cxr,
        "LoadImage CXRReader": LoadImage(reader=CXRReader()),
        "MONAI LoadImage": LoadImage(ensure_channel_first=True),
        "MONAI PydicomReader": LoadImage(reader=PydicomReader()),
        "pydicom pixel_array": lambda path: pydicom.dcmread(path).pixel_array,
    }


def measure(files: dict[str, Path], repeats: int) -> dict[str, dict[str, float | None]]:
    """Return the median milliseconds of each reader on each file; None where it fails."""
    results: dict[str, dict[str, float | None]] = {}
    readers = make_readers()
    for name, path in files.items():
        times: dict[str, list[float]] = {reader: [] for reader in readers}
        working = dict(readers)
        for turn in range(repeats + 1):
            for reader, read in list(working.items()):
                if name.startswith("DICOM") is False and "ydicom" in reader:
                    del working[reader]
                    continue
                start = time.perf_counter()
                try:
                    read(str(path))
                except Exception:  # the reader has no decoder for this format
                    del working[reader]
                    continue
                if turn:  # the first turn warms caches and imports
                    times[reader].append(1e3 * (time.perf_counter() - start))
        results[name] = {r: statistics.median(times[r]) if r in working else None for r in readers}
    return results


def table(results: dict[str, dict[str, float | None]]) -> str:
    """Format the results as a Markdown table of milliseconds, with the speed-up over MONAI's LoadImage."""
    readers = list(next(iter(results.values())))
    text = io.StringIO()
    print("| ms per image |", " | ".join(readers), "| read_cxr against LoadImage |", file=text)
    print("|---" * (len(readers) + 2) + "|", file=text)
    for name, row in results.items():
        cells = ["–" if row[reader] is None else f"{row[reader]:.1f}" for reader in readers]
        ours, theirs = row["read_cxr"], row["MONAI LoadImage"]
        ratio = f"{theirs / ours:.1f}x" if ours and theirs else "–"
        print(f"| {name} | {' | '.join(cells)} | {ratio} |", file=text)
    return text.getvalue()


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2000, help="rows and columns of the synthetic image")
    parser.add_argument("--repeats", type=int, default=7, help="timed reads of each file by each reader")
    parser.add_argument("--out", "--output", dest="output", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(make_files(Path(folder), options.side), options.repeats)
    versions = {package: version(package) for package in _PACKAGES}
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": versions["torch"],
        "versions": versions,
    }
    print(f"{options.side} x {options.side} images, medians of {options.repeats}; {machine['processor']}, one thread")
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    print(table(results))
    plain = results["DICOM"]
    targets = []
    if plain["read_cxr"] and plain["MONAI LoadImage"]:
        faster = plain["MONAI LoadImage"] / plain["read_cxr"]
        targets = [judged("reading a DICOM file, times faster than MONAI's LoadImage", faster, ">= 3")]
    print_targets(targets)
    if options.output:
        content = {"side": options.side, "repeats": options.repeats, "machine": machine, "milliseconds": results}
        content["targets"] = targets
        options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
