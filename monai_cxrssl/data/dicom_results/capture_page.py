# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Page of a secondary capture: image with overlay, panel of scores."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from monai_cxrssl.data.dicom_results.heatmap import blend_heatmap
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["PICTURE_SIDE", "draw_page"]

#: Longer side of the image on the page, in pixels.
PICTURE_SIDE = 1024
_PANEL, _MARGIN, _LINE = 480, 24, 28
# Height of one class, and the least where there are many.
_ROW, _LEAST_ROW = 56, 42
_LEAST_HEIGHT = 640
_WHITE, _GREY, _AMBER, _CYAN = (240, 240, 240), (150, 150, 150), (255, 190, 60), (0, 220, 220)
_TRACK = (60, 60, 60)


def draw_page(picture: np.ndarray, result: FilmResult, algorithm: Algorithm) -> np.ndarray:
    """Return the page ``(H, W, 3)`` uint8, RGB; nothing on it tells who the patient is.

    Args:
        picture: ``(h, w)`` uint8 of any size, upright, bright = dense.
        result: whose saliency lies over the image as a heatmap, and whose mask as a cyan outline. Classes that find no
            room are counted.
        algorithm: that is named.
    """
    from PIL import Image, ImageDraw

    film = _film(picture, result)
    page = np.zeros((max(film.shape[0], _LEAST_HEIGHT), film.shape[1] + _PANEL, 3), np.uint8)
    page[: film.shape[0], : film.shape[1]] = film
    image = Image.fromarray(page)
    draw = ImageDraw.Draw(image)
    _stamp(draw, film.shape[0])
    _panel(draw, film.shape[1] + _MARGIN, page.shape[0], result, algorithm)
    return np.asarray(image)


def _film(picture: np.ndarray, result: FilmResult) -> np.ndarray:
    scale = PICTURE_SIDE / max(picture.shape)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    grey = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    colours = np.repeat(grey[..., None], 3, axis=2)
    if result.saliency is not None:
        colours = blend_heatmap(grey, cv2.resize(result.saliency.astype(np.float32), size))[..., ::-1].copy()
    if result.mask is not None:
        mask = cv2.resize(result.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        borders, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(colours, borders, -1, _CYAN, 2)
    return colours


def _stamp(draw: ImageDraw, height: int) -> None:
    """Mark the image itself, since a viewer may show it without the panel."""
    place = (_MARGIN // 2, height - _LINE - _MARGIN // 2)
    draw.text(place, "RESEARCH USE ONLY", fill=_AMBER, font=_font(20, bold=True), stroke_width=2, stroke_fill=(0, 0, 0))


def _panel(draw: ImageDraw, left: int, height: int, result: FilmResult, algorithm: Algorithm) -> None:
    top = _MARGIN
    for text, colour, size, is_bold in _heading(result, algorithm):
        for line in _wrapped(text, size, is_bold):
            draw.text((left, top), line, fill=colour, font=_font(size, is_bold))
            top += _LINE
    top += _LINE // 2
    # A class with a low threshold may be present at a probability below that of others.
    ranked = sorted(result.scores, key=lambda name: (not result.decision(name), -result.scores[name]))
    height -= top + _LINE + _MARGIN
    row = min(_ROW, max(_LEAST_ROW, height // max(1, len(ranked))))
    for name in ranked[: height // row]:
        _bar(draw, left, top, name, result)
        top += row
    if hidden := len(ranked[height // row :]):
        words = f"and {hidden} classes below"
        draw.text((left, top), words, fill=_GREY, font=_font(17))


def _heading(result: FilmResult, algorithm: Algorithm) -> list[tuple[str, tuple[int, int, int], int, bool]]:
    lines = [
        (f"{algorithm.name} {algorithm.version}", _WHITE, 20, True),
        ("Research use only. Not for diagnosis.", _AMBER, 18, True),
        ("Neural network, reviewed by nobody", _GREY, 17, False),
    ]
    if result.mask is not None:
        words = "outlined" if result.mask.any() else "none found"
        lines.append((f"{result.structure.capitalize()}: {words}", _CYAN, 17, False))
    if result.saliency is not None:
        lines.append((f"Colour: evidence for {result.top}", _GREY, 17, False))
    if result.warnings:
        lines.append((f"Caution: {result.warnings}", _AMBER, 17, False))
    return lines


def _bar(draw: ImageDraw, left: int, top: int, name: str, result: FilmResult) -> None:
    """Draw name, decision and percent, and below them a bar with the threshold as a tick."""
    width, score = _PANEL - 2 * _MARGIN, result.scores[name]
    decision = result.decision(name)
    words = f"{100 * score:.1f} %" + ("" if decision is None else "  present" if decision else "  absent")
    font = _font(18)
    right = left + width - draw.textlength(words, font=font)
    draw.text((right, top), words, fill=_AMBER if decision else _WHITE, font=font)
    draw.text((left, top), _cut(draw, name, right - left - 12, font), fill=_WHITE, font=font)
    low, high = top + 27, top + 37
    draw.rectangle((left, low, left + width, high), fill=_TRACK)
    draw.rectangle((left, low, left + round(width * score), high), fill=_AMBER if decision else _GREY)
    if name in result.thresholds:
        tick = left + round(width * result.thresholds[name])
        draw.line((tick, low - 4, tick, high + 4), fill=_WHITE, width=2)


def _cut(draw: ImageDraw, text: str, width: float, font: FreeTypeFont) -> str:
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, size: int, is_bold: bool) -> list[str]:
    letters = int((_PANEL - 2 * _MARGIN) / (size * (0.66 if is_bold else 0.56)))
    return textwrap.wrap(text, letters) or [""]


def _font(size: int, bold: bool = False) -> FreeTypeFont:
    """Return matplotlib's own font, which has Latin, Greek and Cyrillic letters on every machine."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
