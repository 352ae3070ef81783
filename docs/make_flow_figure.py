# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw the way from an archive of images to a model in use, on phantom images.

    python docs/make_flow_figure.py [--output docs/images/flow.png] [--seed 0]

Everything on the images is drawn by the package: views, holes, blocks, masks, blanked lungs. The marks in the report
are an example, not the outcome of a run.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import make_method_figures as methods
import numpy as np
import torch
from make_method_figures import Films, plain

from monai_cxrssl.phantom.dataset import CLASSES
from monai_cxrssl.transforms import BlankRegion

#: Width and height in hundredths of an inch, which are pixels at the width that a page shows.
WIDE, TALL = 900, 504
INK, GREY, LINE, GROUND = "#1f2a33", "#56636e", "#c9d3da", "#f5f8fa"
BLUE, GREEN, RED, AMBER = "#0f6a8b", "#2e7d4f", "#a8322a", "#c98a1b"
LUNG = (0.15, 0.70, 1.0)


class Sheet:
    """A page on which places are pixels from the upper left corner."""

    def __init__(self, wide: float = WIDE, tall: float = TALL) -> None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        self.ends = {"xlim": (0, wide), "ylim": (tall, 0)}
        self.figure = plt.figure(figsize=(wide / 100, tall / 100), dpi=200, facecolor="white")
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(**self.ends)
        self.axis.set_axis_off()

    def box(self, x: float, y: float, wide: float, tall: float, *, face: str, edge: str, radius: float = 5) -> None:
        """A box with round corners."""
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={radius}"
        self.axis.add_patch(FancyBboxPatch((x, y), wide, tall, boxstyle=style, fc=face, ec=edge, lw=0.8))

    def text(self, x: float, y: float, words: str, size: float = 7, **options: Any) -> None:
        """Words, by default from the left and in the middle of their height."""
        look = {"color": INK, "ha": "left", "va": "center", "linespacing": 1.3} | options
        self.axis.text(x, y, words, fontsize=size, **look)

    def picture(self, x: float, y: float, side: float, image: np.ndarray, edge: str = "#8796a1") -> None:
        """A square picture, ``(H, W)`` or ``(H, W, 3)`` in [0, 1]."""
        place = (x, x + side, y + side, y)
        self.axis.imshow(image, cmap="gray", vmin=0, vmax=1, extent=place, aspect="auto", zorder=2)
        self.axis.plot([x, x + side, x + side, x, x], [y, y, y + side, y + side, y], color=edge, lw=0.8, zorder=2)
        self.axis.set(**self.ends)

    def arrow(self, *points: tuple[float, float], colour: str = BLUE, width: float = 1.8) -> None:
        """A line through points with a head at its end."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Route

        style = "-|>,head_length=4.5,head_width=2.8" if width > 1 else "-|>,head_length=2.6,head_width=1.6"
        self.axis.add_patch(
            FancyArrowPatch(
                path=Route(points), arrowstyle=style, color=colour, lw=width, joinstyle="miter", capstyle="butt"
            )
        )

    def card(self, x: float, y: float, wide: float, tall: float, number: int, title: str, note: str) -> None:
        """A step: its number, its title and a line below."""
        self.box(x, y, wide, tall, face=GROUND, edge=LINE)
        self.axis.scatter([x + 17], [y + 18], s=130, color=BLUE, linewidths=0, zorder=3)
        self.text(x + 17, y + 18.3, str(number), 8, color="white", ha="center", weight="bold", zorder=4)
        self.text(x + 32, y + 18, title, 9, weight="bold")
        self.text(x + 11, y + 39, note, 7, color=GREY)

    def mark(self, x: float, y: float, colour: str, sign: str) -> None:
        """A round mark with a sign: yes, no, not known."""
        self.axis.scatter([x], [y], s=44, color=colour, linewidths=0, zorder=3)
        signs = {"yes": ([-2.6, -0.7, 2.7], [0.2, 2.2, -2.2]), "unknown": ([-2.4, 2.4], [0, 0])}
        lines = [signs[sign]] if sign in signs else [([-2, 2], [-2, 2]), ([-2, 2], [2, -2])]
        for across, down in lines:
            self.axis.plot([x + a for a in across], [y + d for d in down], color="white", lw=1.1, zorder=4)

    def png(self) -> bytes:
        """The page as a PNG of 256 colours."""
        import matplotlib.pyplot as plt
        from PIL import Image

        buffer, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(buffer, format="png")
        plt.close(self.figure)
        with Image.open(buffer) as picture:
            picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                small, format="PNG", optimize=True
            )
        return small.getvalue()


def square(film: np.ndarray) -> np.ndarray:
    """The middle square of an image."""
    side = min(film.shape)
    top, left = (film.shape[0] - side) // 2, (film.shape[1] - side) // 2
    return film[top : top + side, left : left + side]


def outlined(image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """An image with its lungs tinted and outlined."""
    import cv2

    drawn = np.ascontiguousarray(methods.tinted(image, mask, LUNG))
    edges, _ = cv2.findContours(mask[0, 0].numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, edges, -1, LUNG, 3, cv2.LINE_AA)
    return drawn


def archive(sheet: Sheet, films: Films, x: float, y: float) -> None:
    """A pile of images."""
    sheet.card(x, y, 152, 226, 1, "Archive of images", "DICOM, PNG, JPEG, NIfTI, …")
    for step, index in enumerate((7, 6, 5, 3)):
        sheet.picture(x + 15 + 11 * step, y + 56 + 11 * step, 88, square(films.film(index)[0][0] / 255))
    sheet.text(x + 11, y + 196, "upright, bright is dense,\nwhatever wrote the file", color=GREY)


def data_set(sheet: Sheet, films: Films, x: float, y: float) -> None:
    """Images by split, a patient on one side only."""
    sheet.card(x, y, 186, 226, 2, "Data set", "index · split · audit · cache")
    rows = (("training", BLUE, (3, 5, 6)), ("validation", AMBER, (8, 9)), ("test", GREEN, (10, 11)))
    for row, (name, colour, patients) in enumerate(rows):
        top = y + 56 + 43 * row
        sheet.text(x + 11, top + 18, name, color=colour, weight="bold")
        for place, index in enumerate(patients):
            sheet.picture(x + 70 + 37 * place, top, 34, square(films.film(index)[0][0] / 255), edge=colour)
    sheet.text(x + 11, y + 196, "no patient in two splits;\nleaks stop the run", color=GREY)


def pretraining(sheet: Sheet, films: Films, seed: int, x: float, y: float) -> None:
    """What each pretext task shows the network."""
    sheet.card(
        x, y, 498, 226, 3, "Pretraining without labels", "six bundles, each one command; CNN or vision transformer"
    )
    first, second = (panel[1] for panel in methods.simclr(films, seed)[4:6])
    bag = [panel[1] for panel in methods.micle(films, seed)[::2]]
    query, queue = (panel[1] for panel in methods.moco(films, seed)[1:4:2])
    holes = methods.inpainting(films, seed)
    blocks = methods.spcxr(films, seed)
    turned, tiles = methods.rotation(films, seed)[1][1], methods.jigsaw(films, seed)[2][1]
    tasks = (
        ("SimCLR", "two views of an image agree", (first, second), "↔"),
        ("MICLe", "two images of a patient agree", [square(film) for film in bag], "↔"),
        ("MoCo", "a view finds its key in a queue", (query, queue), "→"),
        ("Inpainting", "holes in the lungs are filled", (holes[2][1], holes[0][1]), "→"),
        ("SPCXR", "corrupted blocks are restored", (blocks[1][1], blocks[0][1]), "→"),
        ("Curriculum", "tasks in sequence: turn, tiles, …", (turned, tiles), "→"),
    )
    for number, (name, words, pair, sign) in enumerate(tasks):
        left, top = x + 12 + 163 * (number % 3), y + 54 + 85 * (number // 3)
        for place, image in enumerate(pair):
            sheet.picture(left + 72 * place, top, 54, image)
        if sign == "→":
            sheet.arrow((left + 55, top + 27), (left + 71, top + 27), colour=GREY, width=0.9)
        else:
            for start, end in ((left + 63, left + 71), (left + 63, left + 55)):
                sheet.arrow((start, top + 27), (end, top + 27), colour=GREY, width=0.9)
        sheet.text(left, top + 62, name, weight="bold")
        sheet.text(left, top + 73, words, 6.4, color=GREY)


def fine_tuning(sheet: Sheet, films: Films, x: float, y: float) -> None:
    """Classes, masks, or both."""
    sheet.card(
        x, y, 316, 216, 4, "Fine-tuning with few labels", "from that encoder; what each share of the labels gives"
    )
    label = 1
    film, mask = films.film(3, label=label)
    whole = methods.MultiView(size=methods.SIDE, num_views=1, **methods.FULL_FILM)
    views = whole.sample(film.shape[1:], key=(0, 0))
    image, lungs = whole.apply(film, views), whole.apply_mask(mask, views)
    tasks = (
        ("Classification", plain(image), True),
        ("Segmentation", outlined(image, lungs), False),
        ("Multitask", outlined(image, lungs), True),
    )
    for number, (name, shown, classes) in enumerate(tasks):
        left = x + 12 + 100 * number
        sheet.picture(left, y + 54, 90, shown)
        sheet.text(left, y + 154, name, weight="bold")
        for row, words in enumerate(CLASSES if classes else ()):
            at = y + 167 + 10.5 * row
            chosen = row == label
            sheet.axis.scatter([left + 3.5], [at], s=13, facecolor=BLUE if chosen else "white", edgecolor=BLUE, lw=0.7)
            sheet.text(left + 10, at, words, 6.3, color=INK if chosen else GREY)
        if not classes:
            sheet.text(left, y + 170, "mask of the image's\nown rows, columns", 6.3, color=GREY)


def report(sheet: Sheet, films: Films, x: float, y: float) -> None:
    """Criteria with their marks, as on the report's page, and one of its probes."""
    sheet.card(x, y, 254, 216, 5, "Report", "one page, offline; intervals over patients")
    sheet.box(x + 11, y + 54, 142, 151, face="white", edge=LINE, radius=3)
    sheet.box(x + 11, y + 54, 3.5, 151, face=RED, edge=RED, radius=0.5)
    sheet.text(x + 22, y + 67, "Verdict: not ready", 7.5, weight="bold")
    criteria: Sequence[tuple[str, str]] = (
        ("ranking (AUROC)", "yes"),
        ("sensitivity", "no"),
        ("calibration", "no"),
        ("lung masks (Dice)", "yes"),
        ("attention on the lungs", "yes"),
        ("subgroups", "yes"),
        ("other hospitals", "unknown"),
        ("leaks", "yes"),
    )
    for row, (name, sign) in enumerate(criteria):
        at = y + 86 + 15.3 * row
        sheet.mark(x + 27, at, {"yes": GREEN, "no": RED, "unknown": GREY}[sign], sign)
        sheet.text(x + 37, at, name, 6.8)
    image, lungs = films.square(3)
    blanked = BlankRegion("lungs", fill="zero")(image[0], lungs[0])
    for row, (shown, words) in enumerate(
        ((outlined(image, lungs), "the image, its lungs"), (plain(blanked), "lungs blanked"))
    ):
        sheet.picture(x + 166, y + 54 + 77 * row, 60, shown)
        sheet.text(x + 166, y + 122 + 77 * row, words, 6.3, color=GREY)


def use(sheet: Sheet, x: float, y: float) -> None:
    """The bundle and who takes it."""
    sheet.card(x, y, 266, 216, 6, "Bundle, in use", "weights, configs, card, checksums")
    sheet.box(x + 14, y + 96, 74, 66, face="white", edge=BLUE, radius=4)
    sheet.text(x + 51, y + 117, "MONAI", 8, ha="center", weight="bold", color=BLUE)
    sheet.text(x + 51, y + 131, "Bundle", 8, ha="center", weight="bold", color=BLUE)
    sheet.text(x + 51, y + 147, "checked", 6.3, ha="center", color=GREY)
    outlets = (
        ("MONAI Label", "3D Slicer, OHIF"),
        ("any MONAI project", "encoder of smp or timm"),
        ("ONNX", "checked against PyTorch"),
    )
    for row, (name, words) in enumerate(outlets):
        top = y + 58 + 50 * row
        sheet.box(x + 124, top, 130, 41, face="white", edge=LINE, radius=3)
        sheet.text(x + 132, top + 14, name, 7.3, weight="bold")
        sheet.text(x + 132, top + 28, words, 6.3, color=GREY)
        middle = top + 20.5
        sheet.arrow((x + 88, y + 129), (x + 104, y + 129), (x + 104, middle), (x + 123, middle), width=1.1)


def draw(films: Films, seed: int) -> bytes:
    """Return the picture as a PNG."""
    sheet = Sheet()
    upper, lower, edge, gap = 10, 278, 10, 22
    archive(sheet, films, edge, upper)
    data_set(sheet, films, edge + 152 + gap, upper)
    pretraining(sheet, films, seed, edge + 152 + 186 + 2 * gap, upper)
    fine_tuning(sheet, films, edge, lower)
    report(sheet, films, edge + 316 + gap, lower)
    use(sheet, edge + 316 + 254 + 2 * gap, lower)
    for end, high in ((184, 123), (392, 123), (348, 386), (624, 386)):
        sheet.arrow((end - gap, high), (end - 1, high))
    sheet.arrow((641, 236), (641, 256), (168, 256), (168, 277))
    sheet.text(
        404,
        256,
        "the encoder's weights",
        color=BLUE,
        ha="center",
        weight="bold",
        bbox={"fc": "white", "ec": "none", "pad": 2},
    )
    return sheet.png()


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "flow.png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(draw(Films(options.seed), options.seed))
    print(f"written: {options.output}, {options.output.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
