# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Near-duplicate images by DCT fingerprints.

An image is averaged down to 64 x 64; of its discrete cosine transform the 24 x 24 lowest coefficients are kept, without
the 4 x 4 lowest ones, which hold what all chests have in common. Two images are near-duplicates when the cosine of
their coefficients is at least :data:`THRESHOLD`. Up to :data:`ALL_PAIRS` images every pair is compared; above, pairs
are first sought by a perceptual hash (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
2010) of 256 bits, each one coefficient above or below its median over the images, which share one of 16 bands of 16
bits. Crops, turned and mirrored copies are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import cv2
import numpy as np

__all__ = ["ALL_PAIRS", "THRESHOLD", "fingerprint", "near_duplicates", "pixel_digest"]

THRESHOLD = 0.98
"""Least cosine of near-duplicates: images re-encoded as JPEG or reduced to 0.6 of their size stayed above 0.99."""
ALL_PAIRS = 8192
"""Most images whose pairs are all compared."""

_SIDE, _KEPT, _COMMON = 64, 24, 4
_BANDS, _BAND_BITS = 16, 16
_CHUNK = 1 << 18


def _kept_coefficients() -> np.ndarray:
    row, column = np.indices((_KEPT, _KEPT))
    usable = np.flatnonzero(np.maximum(row, column).ravel() >= _COMMON)
    # Coarse ones first: they carry the most, and the hash takes the first 256.
    return usable[np.argsort((row + column).ravel()[usable], kind="stable")]


_INDEX = _kept_coefficients()


def fingerprint(pixels: np.ndarray) -> np.ndarray:
    """Describe what an image shows, unchanged by size, brightness, contrast and lossy compression.

    Takes ``(H, W)`` uint8, uint16 or float; gives float32 ``(560,)`` of length 1, zeros for uniform images.
    """
    small = cv2.resize(pixels.astype(np.float32, copy=False), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    vector = cv2.dct(small)[:_KEPT, :_KEPT].ravel()[_INDEX]
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-3 * max(float(np.abs(small).max()), 1e-6) else np.zeros_like(vector)


def pixel_digest(pixels: np.ndarray) -> bytes:
    """16 bytes that two images share when their decoded pixels are the same."""
    head = f"{pixels.shape}{pixels.dtype}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()


def near_duplicates(
    fingerprints: np.ndarray, threshold: float = THRESHOLD, all_pairs: int = ALL_PAIRS
) -> list[tuple[int, int, float]]:
    """Find the pairs of images that look the same: ``(i, j, cosine)`` with i < j, in this order.

    ``fingerprints`` are ``(films, 560)`` of :func:`fingerprint`, float16 or float32, ``threshold`` is the least cosine,
    in (0, 1]. Above ``all_pairs`` images, only pairs that share a band of the hash are compared.
    """
    found: dict[tuple[int, int], float] = {}
    blocks = _every_pair(fingerprints, threshold) if len(fingerprints) <= all_pairs else _banded_pairs(fingerprints)
    for first, second in blocks:
        for start in range(0, len(first), _CHUNK):
            a, b = first[start : start + _CHUNK], second[start : start + _CHUNK]
            cosine = np.einsum("ij,ij->i", fingerprints[a], fingerprints[b], dtype=np.float32)
            for index in np.flatnonzero(cosine >= threshold):
                found[int(a[index]), int(b[index])] = float(cosine[index])
    return [(i, j, found[i, j]) for i, j in sorted(found)]


def _every_pair(fingerprints: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    whole = fingerprints.astype(np.float32, copy=False)
    for start in range(0, len(whole), 1024):
        cosine = whole[start : start + 1024] @ whole[start:].T
        first, second = np.nonzero(cosine >= threshold - 1e-3)
        above = second > first
        yield first[above] + start, second[above] + start


def _banded_pairs(fingerprints: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    count = _BANDS * _BAND_BITS
    bits = np.empty((len(fingerprints), count), dtype=bool)
    for column in range(count):
        values = fingerprints[:, column].astype(np.float32)
        bits[:, column] = values > np.median(values)
    packed = np.packbits(bits, axis=1)
    weights = 1 << np.arange(_BAND_BITS)
    for band in range(_BANDS):
        # Every 16th bit, so that each band has coarse and fine ones.
        code = bits[:, band::_BANDS] @ weights
        order = np.argsort(code, kind="stable")
        ordered = code[order]
        step = 1
        while step < len(order):
            # Pairs at distance `step` within runs of one code; the runs bound how far this goes.
            same = np.flatnonzero(ordered[:-step] == ordered[step:])
            if not len(same):
                break
            for start in range(0, len(same), _CHUNK):
                part = same[start : start + _CHUNK]
                a, b = order[part], order[part + step]
                # Near-duplicates differ in few bits; strangers in about half of them.
                close = _ONES[packed[a] ^ packed[b]].sum(axis=1) <= count // 5
                yield np.minimum(a, b)[close], np.maximum(a, b)[close]
            step += 1


_ONES = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint16)
