# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Modality and VOI LUT sequence items, their descriptors checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_cxrssl.data.reading.film import Note

__all__ = ["Lut", "lut_intensities", "lut_outputs", "make_lut"]


@dataclass(frozen=True)
class Lut:
    """LUT sequence item: float64 entries ``(N,)``, none if incomplete; first value mapped; bits per entry; and how many
    entries the descriptor promises."""

    entries: np.ndarray
    first: int = 0
    bits: int = 0
    count: int = 0


def make_lut(descriptor: tuple[float, ...] | None, data: object, little_endian: bool) -> Lut:
    """Return the LUT of a descriptor and its data, bytes or numbers; without entries where it is incomplete."""
    entries: np.ndarray
    if not descriptor or len(descriptor) != 3 or data is None:
        return Lut(np.empty(0))
    # A count of 65,536 is written as 0; a parser that takes the element for signed makes large counts negative.
    count = int(descriptor[0]) % 65536 or 65536
    first, bits = int(descriptor[1]), int(descriptor[2])
    if isinstance(data, (bytes, bytearray)):
        # As many bytes as entries are entries of 8 bits, whatever the descriptor says of their size.
        if len(data) in (count, count + count % 2) and count > 1:
            entries = np.frombuffer(bytes(data), np.uint8)
        else:
            entries = np.frombuffer(bytes(data)[: len(data) // 2 * 2], "<u2" if little_endian else ">u2")
    else:
        entries = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
        if len(entries) == (count + 1) // 2 and count > 2 and (bits <= 8 or _packed(entries)):
            entries = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel()
    return Lut(entries[:count].astype(np.float64), first, bits, count)


def lut_outputs(lut: Lut, values: np.ndarray) -> np.ndarray | None:
    """Return the entry of each value ``(N,)`` in float64; None where the LUT has too few entries for them.

    Values outside take the first or last entry; between entries (a fractional rescale) the nearer one.
    """
    first = lut.first - 65536 if lut.first >= 32768 and values.min() < 0 else lut.first
    index = np.clip(np.rint(values) - first, 0, lut.count - 1).astype(np.int64)
    if not lut.entries.size or index.max() >= lut.entries.size:
        return None
    return lut.entries[index]


def lut_intensities(lut: Lut, values: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """Return intensities in [0, 1] of the values ``(N,)`` by a VOI LUT; None where it is incomplete.

    What its entries reach decides on the bits: some devices write the size of an entry in memory into the descriptor.
    """
    outputs = lut_outputs(lut, values)
    if outputs is None:
        return None
    highest = int(lut.entries.max())
    bits = highest.bit_length() or 1
    if bits != lut.bits:
        notes.append(
            Note("lut_bits", f"the VOI LUT claims {lut.bits} bits but reaches {highest}; scaled by {2**bits - 1}")
        )
    return outputs / (2**bits - 1)


def _packed(entries: np.ndarray) -> bool:
    """Return whether words hold two entries of 8 bits each: taken apart, they are smoother than as they are."""
    apart = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel().astype(np.int64)
    return bool(np.abs(np.diff(apart)).max() <= 16)
