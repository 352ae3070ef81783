# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies for uncertain (-1) and blank labels.

CheXpert and MIMIC-CXR-JPG read their labels from reports: 1 positive, 0 negative, -1 uncertain, blank not mentioned. A
policy says for each class what an uncertain label becomes:

=====================  =================================================================================
``"ignore"``           unknown (null), never counted
``"ones"``             1
``"zeros"``            0
``"lsr"``              a number drawn evenly from :data:`LSR_RANGE`, 0.55 to 0.85 (label smoothing)
a number               that number, 0 to 1
``[low, high]``        a number drawn evenly from low to high, such as ``[0, 0.3]`` to smooth towards negative
=====================  =================================================================================

The same for all classes, or a dictionary from class to policy (classes it does not name are ``"ignore"``).
``"chexpert"`` is the mixture common with that data set: ones for Atelectasis and Edema, zeros for all others. Draws
depend only on the seed, the item's key and the class, so the order and the number of items do not change them.

Ranges after H. H. Pham et al., "Interpreting chest X-rays via CNNs that exploit hierarchical disease dependencies and
uncertainty labels", arXiv 1911.06475.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from numbers import Real
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.errors import ConfigurationError

__all__ = ["CHEXPERT_ONES", "LSR_RANGE", "POLICIES", "apply_label_policy", "labels_to_lists"]

POLICIES = ("ignore", "ones", "zeros", "lsr", "chexpert")
BLANKS = ("null", "zero")
LSR_RANGE = (0.55, 0.85)
CHEXPERT_ONES = ("Atelectasis", "Edema")


def apply_label_policy(
    labels: np.ndarray,
    classes: Sequence[str],
    policy: str | float | Sequence[float] | Mapping[str, Any] = "ignore",
    blanks: str = "null",
    keys: Sequence[str] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Replace uncertain and blank labels.

    Args:
        labels: ``(N, C)`` of 1, 0, -1 (uncertain) and NaN (blank); not changed.
        classes: the C names.
        policy: see the table above; a dictionary may spell class names as any data set does.
        blanks: ``"null"`` leaves a blank unknown, ``"zero"`` takes it for negative.
        keys: N texts that tell the items apart (their image paths); needed where the policy draws.
        seed: changes every draw.

    Returns:
        ``(N, C)`` float64 in [0, 1], NaN where unknown.

    Raises:
        ConfigurationError: a policy that is not in the table, a class that is not in ``classes``, or missing keys.
        ValueError: ``labels`` has another shape or holds another value.

    Example:
        >>> apply_label_policy([[-1, -1, 1, float("nan")]], ["Edema", "Mass", "Hernia", "Nodule"], "chexpert", "zero")
        array([[1., 0., 1., 0.]])
    """
    values = np.array(labels, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise ValueError(f"labels have the shape {values.shape}; expected (items, {len(classes)}).")
    if not (np.isnan(values) | np.isin(values, (-1, 0, 1))).all():
        raise ValueError("labels hold a value other than 1, 0, -1 and NaN.")
    if blanks not in BLANKS:
        raise ConfigurationError(f"blanks is {blanks!r}; expected one of {', '.join(BLANKS)}.")
    uncertain = values == -1
    if blanks == "zero":
        values[np.isnan(values)] = 0
    for column, (name, (low, high)) in enumerate(zip(classes, _ranges(classes, policy), strict=True)):
        rows = np.flatnonzero(uncertain[:, column])
        if low == high or np.isnan(low):
            values[rows, column] = low
            continue
        if keys is None or len(keys) != len(values):
            raise ConfigurationError(f"The label policy draws labels for {name}, which needs one key per item.")
        values[rows, column] = low + (high - low) * _uniform([keys[row] for row in rows.tolist()], name, seed)
    return values


def labels_to_lists(values: np.ndarray) -> list[list[float | None]]:
    """Rows of a ``(N, C)`` label array as datalist labels: floats, and ``None`` for NaN.

    Equal numbers become one shared object, which keeps 400,000 items small.
    """
    numbers, inverse = np.unique(values, return_inverse=True)
    shared = np.array([None if np.isnan(number) else float(number) for number in numbers], dtype=object)
    return shared[inverse.reshape(values.shape)].tolist()


def _ranges(classes: Sequence[str], policy: Any) -> list[tuple[float, float]]:
    """For each class the range that an uncertain label is drawn from; (NaN, NaN) leaves it unknown."""
    if isinstance(policy, Mapping):
        position = {canonical_pathology(name) or name: index for index, name in enumerate(classes)}
        ranges = [_range("ignore")] * len(classes)
        for name, entry in policy.items():
            index = position.get(canonical_pathology(name) or name)
            if index is None:
                raise ConfigurationError(f"The label policy names {name!r}, which is none of {', '.join(classes)}.")
            ranges[index] = _range(entry)
        return ranges
    if isinstance(policy, str) and policy == "chexpert":
        return [_range("ones" if canonical_pathology(name) in CHEXPERT_ONES else "zeros") for name in classes]
    return [_range(policy)] * len(classes)


def _range(policy: Any) -> tuple[float, float]:
    named = {"ignore": (np.nan, np.nan), "ones": (1.0, 1.0), "zeros": (0.0, 0.0), "lsr": LSR_RANGE}
    if isinstance(policy, str) and policy in named:
        return named[policy]
    if isinstance(policy, Real) and not isinstance(policy, bool) and 0 <= float(policy) <= 1:
        return float(policy), float(policy)
    if isinstance(policy, list | tuple) and len(policy) == 2 and all(isinstance(bound, Real) for bound in policy):
        low, high = map(float, policy)
        if 0 <= low <= high <= 1:
            return low, high
    raise ConfigurationError(
        f"The label policy is {policy!r}; expected one of {', '.join(POLICIES)}, a number from 0 to 1, a pair "
        "[low, high] within 0 to 1, or a dictionary from class to one of these but chexpert."
    )


def _uniform(keys: Sequence[str], name: str, seed: int) -> np.ndarray:
    """One number in [0, 1) per key: the first 53 bits of a hash of (seed, class, key)."""
    start = blake2b(f"{seed}\0{canonical_pathology(name) or name}\0".encode(), digest_size=8)
    digests = bytearray()
    for key in keys:
        state = start.copy()
        state.update(key.encode("utf-8", "surrogateescape"))
        digests += state.digest()
    return (np.frombuffer(bytes(digests), dtype="<u8") >> np.uint64(11)) / 2.0**53
