# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw a contact sheet of phantom patients: each class as images, and below them the same images with their masks.

python docs/make_phantom_contact_sheet.py [--output FILE.png] [--seed 0] [--columns 6] [--tile 184]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.phantom import CLASSES, PhantomImage, PhantomPatient, render, sample_patient

__all__ = ["contact_sheet"]

TITLES = {
    "negative": "negative",
    "typical": "typical: bilateral, peripheral, multifocal",
    "indeterminate": "indeterminate: perihilar or diffuse haze",
    "atypical": "atypical: one-sided, focal",
}
PAPER, LUNG, OPACITY = (255, 255, 255), (255, 200, 60), (40, 70, 255)  # BGR
TITLE_HEIGHT, CAPTION_HEIGHT, GAP = 24, 14, 4
GREYS = 72
FONT = cv2.FONT_HERSHEY_SIMPLEX


def _tile(film: PhantomImage, side: int, caption: str, masks: bool) -> np.ndarray:
    """One image, centred on black, uint8 BGR: with outlines of lung and opacity, or with a caption above."""
    grey = film.image[0]
    scale = side / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    small = cv2.cvtColor(
        np.rint(cv2.resize(grey, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR
    )
    if masks:
        for mask, colour in ((film.lung_mask[0], LUNG), (film.opacity_mask[0], OPACITY)):
            reduced = cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA)
            outlines, _ = cv2.findContours((reduced > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(small, outlines, -1, colour, 1)
    tile = np.zeros((side, side, 3), np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    if masks:
        return tile
    strip = np.full((CAPTION_HEIGHT, side, 3), PAPER, np.uint8)
    cv2.putText(strip, caption, (0, CAPTION_HEIGHT - 4), FONT, 0.34, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([strip, tile])


def _patients(label: int, seed: int, columns: int) -> list[tuple[PhantomPatient, int]]:
    """Images for one row: a patient of three images with a lateral, one of two images, then single ones."""
    chosen: list[tuple[PhantomPatient, int]] = []
    wanted = [3, 2] + [1] * columns
    index = 1000 * label
    while len(chosen) < columns:
        count = min(wanted[0], columns - len(chosen))
        patient = sample_patient(index, label, seed)
        views = [q.view_position for q in patient.acquisitions]
        index += 1
        if len(views) < count or ("LL" in views[:count]) != (count == 3):
            continue
        wanted.pop(0)
        chosen += [(patient, k) for k in range(count)]
    return chosen


def contact_sheet(seed: int = 0, columns: int = 6, side: int = 184) -> np.ndarray:
    """The sheet, ``(H, W, 3)`` uint8 BGR.

    Args:
        seed: of the phantom.
        columns: images per class.
        side: side of one image on the sheet, pixels.
    """
    rows = []
    width = columns * (side + GAP) + GAP
    for label, name in enumerate(CLASSES):
        title = np.full((TITLE_HEIGHT, width, 3), PAPER, np.uint8)
        cv2.putText(title, TITLES[name], (GAP, TITLE_HEIGHT - 8), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        rows.append(title)
        films = [(p, k, render(p, k)) for p, k in _patients(label, seed, columns)]
        for masks in (False, True):
            tall = side if masks else side + CAPTION_HEIGHT
            row = np.full((tall + GAP, width, 3), PAPER, np.uint8)
            for n, (patient, k, film) in enumerate(films):
                q = patient.acquisitions[k]
                caption = f"{patient.patient_id[-5:]} {patient.anatomy.sex}{patient.anatomy.age} {q.view_position}"
                left = GAP + n * (side + GAP)
                row[:tall, left : left + side] = _tile(film, side, caption, masks)
            rows.append(row)
    return np.concatenate(rows)


def main() -> None:
    """Write the sheet as a PNG of few colours, so that it stays small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "phantom_contact_sheet.png")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--tile", type=int, default=184)
    options = parser.parse_args()

    from PIL import Image

    sheet = contact_sheet(options.seed, options.columns, options.tile)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    # A palette of greys and the two outline colours: a free choice of colours would drop the thin lines.
    greys = np.rint(np.linspace(0, 255, GREYS)).astype(np.uint8)[:, None].repeat(3, 1)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, [LUNG[::-1], OPACITY[::-1]]]).astype(np.uint8).tobytes())
    picture = Image.fromarray(np.ascontiguousarray(sheet[..., ::-1])).quantize(
        palette=palette, dither=Image.Dither.NONE
    )
    picture.save(options.output, optimize=True)
    print(f"{options.output}: {sheet.shape[1]} x {sheet.shape[0]} pixels, {options.output.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
