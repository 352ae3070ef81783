# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of the reader: ``python tests/robustness/fuzz_reader.py --seconds 600``; needs atheris.

Starts from the small test files that pydicom installs and from one tiny image per other format. An image in [0, 1] and a
``CXRReadError`` are right; anything else, a read of more than five seconds, and more than a gigabyte are findings. The
file that led to one stays in the folder that is printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

__all__ = ["main", "read_one"]

REPO = Path(__file__).resolve().parents[2]
LARGEST_SEED = 12_000
# Larger images take longer to decode than to find a fault in; beyond it they are refused before memory is taken.
MAX_PIXELS = 1_000_000


def write_seeds(folder: Path) -> int:
    """Fill the folder with the files to start from; returns how many."""
    import pydicom

    from tests.robustness.small_files import small_files

    seeds = {f"film_{name}": content for name, content in small_files().items()}
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST_SEED:
            seeds[path.name] = path.read_bytes()
    for name, content in seeds.items():
        (folder / name).write_bytes(content)
    return len(seeds)


def read_one(path: Path, content: bytes) -> None:
    """Read one content; raises whatever is a finding."""
    import numpy as np

    from monai_cxrssl.data.reading.read import read_cxr
    from monai_cxrssl.errors import CXRReadError

    path.write_bytes(content)
    try:
        film, metadata = read_cxr(path, max_pixels=MAX_PIXELS)
    except CXRReadError as error:
        assert error.cause  # noqa: PT017
        return
    assert film.ndim == 2
    assert film.dtype == np.float32
    assert film.shape == metadata["spatial_shape"]
    assert np.isfinite(film).all()
    assert 0 <= film.min() <= film.max() <= 1


def main() -> None:
    """Fuzz for the time given; the process ends with status 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=None, help="folder that keeps the files that failed")
    parser.add_argument("--replay", type=Path, nargs="*", default=None, help="read these files instead of fuzzing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if options.replay is not None:
        for path in options.replay:
            read_one(folder / "film", path.read_bytes())
        return
    import atheris

    with atheris.instrument_imports(include=["monai_cxrssl.data", "pydicom", "nibabel", "PIL"]):
        import nibabel  # noqa: F401
        import PIL.BmpImagePlugin
        import PIL.JpegImagePlugin
        import PIL.PngImagePlugin
        import PIL.TiffImagePlugin  # noqa: F401
        import pydicom.pixels  # noqa: F401

        import monai_cxrssl.data.reading.dicom
        import monai_cxrssl.data.reading.raster
        import monai_cxrssl.data.reading.read
        import monai_cxrssl.data.reading.volume  # noqa: F401
    corpus, findings = folder / "corpus", (options.findings or folder / "findings").absolute()
    corpus.mkdir()
    findings.mkdir(parents=True, exist_ok=True)
    print(f"{write_seeds(corpus)} files to start from; findings go to {findings}", flush=True)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-artifact_prefix={findings}/",
        f"-max_len={2 * LARGEST_SEED}",
        "-timeout=5",
        "-rss_limit_mb=4096",  # the instrumented libraries alone were seen to take 1.2 to 2.3 GB
        "-malloc_limit_mb=1024",  # what one input may ask for at once
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, lambda content: read_one(folder / "film", content))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    main()
