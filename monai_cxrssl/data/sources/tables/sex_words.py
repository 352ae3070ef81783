# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for the sex of patients in common languages."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

__all__ = ["read_sexes"]

logger = logging.getLogger(__name__)

# fmt: off
_WORDS = {
    "M": ("male", "man", "boy", "männlich", "maennlich", "mann", "masculin", "homme", "masculino", "hombre", "varón",
          "varon", "homem", "maschio", "maschile", "uomo", "mannelijk", "mężczyzna", "erkek", "мужской", "муж",
          "男", "男性"),
    "F": ("female", "woman", "girl", "weiblich", "frau", "féminin", "feminin", "femme", "femenino", "feminino", "mujer",
          "mulher", "femmina", "femminile", "donna", "vrouw", "vrouwelijk", "kobieta", "kadın", "женский", "жен", "女",
          "女性"),
    "O": ("o", "other", "divers", "diverse", "d", "intersex", "autre", "otro", "altro"),
}
# fmt: on
_LETTER = {word: letter for letter, words in _WORDS.items() for word in words}
# Letters mean what the other letters of their column say: M is mujer beside H (hombre). V is a man in Spanish and a
# woman in Dutch, and 1 and 2 change places between hospitals: these stay unknown.
_PAIRS = (
    ({"h"}, {"h": "M", "m": "F", "f": "F"}),
    ({"w"}, {"m": "M", "w": "F", "f": "F"}),
    ({"k"}, {"m": "M", "k": "F"}),
    ({"e", "k"}, {"e": "M", "k": "F"}),
    ({"v"}, {"f": "F"}),
)


def read_sexes(path: Path, texts: Sequence[str | None]) -> list[str | None]:
    """Read ``M``, ``F`` or ``O`` for each cell of one column, ``None`` for blanks and for words that are not certain.

    Words count in English, German, French, Spanish, Portuguese, Italian, Dutch, Polish, Turkish, Russian, Chinese and
    Japanese, single letters after the others of the column. What is not certain (``1``, ``2``) is told once, counted.
    """
    folded = {text: text.strip().strip(".").casefold() for text in set(texts) if text}
    letters = {"m": "M", "f": "F"}
    for signs, meaning in _PAIRS:
        if signs <= set(folded.values()):
            letters = meaning
    known = {text: letters.get(word) or _LETTER.get(word) for text, word in folded.items()}
    unknown = Counter(text for text in texts if text and not known[text])
    if unknown:
        shown = ", ".join(f"{text!r} {count}" for text, count in unknown.most_common(6))
        logger.warning("%s: %d cells of sex are no certain words and left out (%s)", path, unknown.total(), shown)
    return [known[text] if text else None for text in texts]
