# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The top of a readiness report as docs/images/report.png, by a headless Chromium.

    python docs/make_report_screenshot.py [bundles/multitask/runs/TIME/report/index.html] [--browser chromium]

The report is made first, by the training and the evaluation of ``bundles/multitask`` without options.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]


def shot(browser: str, page: Path, width: int, height: int, target: Path) -> None:
    """Photograph the top of a page at a window's size, in pixels."""
    command = [
        browser, "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}",
        f"--screenshot={target}", page.absolute().as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    pages = sorted((ROOT / "bundles/multitask/runs").glob("*/report/index.html"))
    parser.add_argument("page", nargs="?" if pages else None, type=Path, default=pages[-1] if pages else None)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "report.png")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wide, narrow = Path(folder) / "wide.png", Path(folder) / "narrow.png"
        shot(args.browser, args.page, 1280, 1560, wide)
        # A window has a least width, a phone's is below it: the page is asked for the phone's by a frame.
        frame = Path(folder) / "frame.html"
        frame.write_text(
            f'<body style="margin:0"><iframe src="{args.page.absolute().as_uri()}" width="390" height="1560" '
            'style="border:0"></iframe></body>'
        )
        shot(args.browser, frame, 600, 1560, narrow)
        left, right = Image.open(wide).convert("RGB"), Image.open(narrow).convert("RGB").crop((0, 0, 390, 1560))
        both = Image.new("RGB", (left.width + right.width + 40, 1560), "#888888")
        both.paste(left, (0, 0))
        both.paste(right, (left.width + 40, 0))
        small = both.resize((both.width * 2 // 3, both.height * 2 // 3), Image.Resampling.LANCZOS)
        small.quantize(128).save(args.out, optimize=True)
    print(args.out)


if __name__ == "__main__":
    main()
