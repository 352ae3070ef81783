# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of MultiView in the documentation: an image, where each view looks, and the views with their lungs.

    python docs/make_views_figure.py [--image FILM.png] [--output docs/images/multi_view.png]

Without an image, the image is a phantom, and the outline of its lung mask is warped with each view.
"""

from __future__ import annotations

import argparse
import colorsys
import math
from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.transforms import MultiView, ResizeCXR, ViewParameters

SIDE = 144
GAP = 6


def film_and_mask(path: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The image ``(1, H, W)`` uint8, and its lung mask where it has one."""
    if path:
        pixels = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise SystemExit(f"OpenCV cannot read {path} as an image; give a PNG, JPEG or TIFF.")
        return pixels[None], None
    from monai_cxrssl.phantom.patient import sample_patient
    from monai_cxrssl.phantom.render import render

    phantom = render(sample_patient(index=3, label=1, seed=0))
    return np.rint(phantom.image * 255).astype(np.uint8), phantom.lung_mask


def colours(count: int) -> list[tuple[int, int, int]]:
    """Well separated BGR colours."""
    shades = [colorsys.hsv_to_rgb(number / count, 0.65, 1.0) for number in range(count)]
    return [(round(255 * blue), round(255 * green), round(255 * red)) for red, green, blue in shades]


def corners(view: ViewParameters, height: int, width: int) -> np.ndarray:
    """Corner points x, y of the part of the image that the view shows, in image pixels: ``(4, 2)``."""
    cosine, sine = math.cos(math.radians(view.angle)), math.sin(math.radians(view.angle))
    dx = np.array([-0.5, 0.5, 0.5, -0.5]) * view.width * width
    dy = np.array([-0.5, -0.5, 0.5, 0.5]) * view.height * height
    return np.stack(
        [view.center_x * width + cosine * dx - sine * dy, view.center_y * height + sine * dx + cosine * dy], axis=1
    )


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """Grey ``(h, w)`` uint8 as BGR."""
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="image to use instead of a phantom")
    parser.add_argument("--output", default=str(Path(__file__).parent / "images" / "multi_view.png"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    film, mask = film_and_mask(options.image)
    height, width = film.shape[1:]
    transform = MultiView(size=SIDE, num_views=8, seed=options.seed, return_uint8=True)
    views = transform.sample((height, width), key=(0, 0))
    palette = colours(len(views))

    tall = 2 * SIDE + GAP
    wide = round(tall * width / height)
    left = in_colour((ResizeCXR([tall, wide], mode="stretch")(film)[0].numpy() * 255).round().astype(np.uint8))
    for view, colour in zip(views, palette, strict=True):
        outline = corners(view, height, width) * (tall / height)
        cv2.polylines(left, [np.rint(outline).astype(np.int32)], True, colour, 1, cv2.LINE_AA)

    canvas = np.full((tall, wide + 4 * (SIDE + GAP), 3), 255, dtype=np.uint8)
    canvas[:, :wide] = left
    lungs = None if mask is None else transform.apply_mask(mask, views).numpy()
    for number, pixels in enumerate(transform.apply(film, views).numpy()[:, 0]):
        tile = in_colour(pixels)
        if lungs is not None:
            edges, _ = cv2.findContours(lungs[number, 0], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, edges, -1, (255, 200, 60), 1, cv2.LINE_AA)
        cv2.rectangle(tile, (0, 0), (SIDE - 1, SIDE - 1), palette[number], 2)
        top = (number // 4) * (SIDE + GAP)
        start = wide + GAP + (number % 4) * (SIDE + GAP)
        canvas[top : top + SIDE, start : start + SIDE] = tile

    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(output), canvas, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise SystemExit(f"The picture could not be written to {output}.")
    print(f"written: {output}, {output.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
