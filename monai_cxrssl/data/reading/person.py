# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Digests of a patient's name and birth date, for comparison alone.

The key is drawn anew by each process and kept nowhere: digests of one process can be compared with each other, and
nobody can try out names on them afterwards.
"""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["person_digest"]

_KEY = secrets.token_bytes(32)


def person_digest(text: str) -> str:
    """Return 16 hexadecimal digits that stand for the letters and digits of a text, ``""`` where it has none."""
    plain = "".join(filter(str.isalnum, text.casefold()))
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=8).hexdigest() if plain else ""
