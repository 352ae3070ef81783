# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Words of label cells: missing values, spellings of one class, unknown labels.

A cell is **missing** when it is blank or holds a word of :data:`MISSING`: what pandas, R, databases and spreadsheets
write for no value (``nan, NaN, NA, N/A, #N/A, <NA>, NaT, None, null, \\N``, the error values of spreadsheets), a
dash, a question mark or a dot alone, and "unknown" in common languages; capitals do not count. ``-`` is a value where
the same column has ``+``. ``Nil`` and ``nothing`` are no such words: they may say that nothing was found. A class
that is asked for by name is a class, whatever it is called.

Two words are **one class** when they differ in capitals, blanks, hyphens, underscores or the composition of accents,
or as ``1``, ``01`` and ``1.0`` do. Separators between digits or before a number count (``1-2`` is not ``12``, ``-1``
not ``1``), and so do singular and plural.

A label that is neither missing nor known is **unknown**: null, counted, and named once by :class:`UnknownLabels`.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from monai_cxrssl.data.datalists.rows import shown_rows
from monai_cxrssl.data.datalists.vocabulary import canonical_pathology
from monai_cxrssl.errors import DatalistError

__all__ = [
    "MISSING",
    "TRUTH",
    "UnknownLabels",
    "alike_classes",
    "class_key",
    "class_spellings",
    "is_missing",
    "nearest_word",
    "truth_value",
]

logger = logging.getLogger(__name__)

# fmt: off
MISSING = frozenset({
    "", "nan", "-nan", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "nat", "none", "null", "(null)", "[null]",
    "\\n", "#null!", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "(blank)", "-", "--", "---", "\u2013", "\u2014",
    "?", "??", "???", ".", "unknown", "unk", "unk.", "not known", "not available", "not specified", "unspecified",
    "missing", "unbekannt", "k.a.", "k. a.", "keine angabe", "inconnu", "inconnue", "non renseigné", "desconocido",
    "desconocida", "desconhecido", "desconhecida", "sconosciuto", "sconosciuta", "onbekend", "неизвестно",
    "不明", "未知",
})
# Of a column per finding; the first of each row is what the datalist holds.
TRUTH = {
    1.0: (
        "1", "yes", "y", "true", "t", "positive", "pos", "present", "+", "ja", "j", "oui", "vrai", "sí", "si", "sim",
        "是",
    ),
    0.0: ("0", "no", "n", "false", "f", "negative", "neg", "absent", "-", "nein", "non", "faux", "não", "nao", "否"),
    -1.0: ("-1", "uncertain", "possible", "equivocal", "+/-", "±"),
}
# fmt: on
_VALUES = {word: value for value, words in TRUTH.items() for word in words}
_JOINT = re.compile(r"(?<=[^\W_])[\s_\-\u2010-\u2015]+(?=[^\W_])")
SHOWN_WORDS = 6
NEAR, ALIKE = 0.55, 0.8


def is_missing(text: str) -> bool:
    """Return whether a cell is blank or holds a word for no value."""
    return text.strip().casefold() in MISSING


def truth_value(text: str) -> float | None:
    """Read 1, 0 or -1 (uncertain) from a cell of one finding; ``None`` for another word.

    Example:
        >>> truth_value("1.0"), truth_value("Negative"), truth_value("-1,0"), truth_value("2")
        (1.0, 0.0, -1.0, None)
    """
    word = re.sub(r"^([+-]?)0*(\d)([.,]0*)?$", r"\1\2", text.strip().casefold())
    return _VALUES.get(word)


@lru_cache(maxsize=4096)
def class_key(name: str) -> str:
    """Return what all spellings of a class share.

    Example:
        >>> class_key("COVID-19") == class_key("covid 19"), class_key("01") == class_key("1.0"), class_key("1-2")
        (True, True, '1 2')
    """
    text = unicodedata.normalize("NFC", " ".join(name.casefold().split()))
    if number := re.fullmatch(r"0*(\d+)(\.0*)?", text):
        return number[1]
    text = re.sub(r"\s*/\s*", "/", text)
    return _JOINT.sub(lambda m: " " if (text[m.start() - 1] + text[m.end()]).isdigit() else "", text)


def class_spellings(texts: Iterable[str]) -> dict[str, str]:
    """Give for each word the name of its class: the most frequent spelling, of equal ones the first in sorted order."""
    count = Counter(text for text in texts if text)
    groups: dict[str, list[str]] = {}
    for text in sorted(count):
        groups.setdefault(class_key(text), []).append(text)
    names = {key: max(words, key=lambda word: count[word]) for key, words in groups.items()}
    return {text: unicodedata.normalize("NFC", names[class_key(text)]) for text in count}


def nearest_word(word: str, known: Iterable[str], cutoff: float = NEAR) -> str | None:
    """Return the known word that is most like another, ``None`` when none is near."""
    keys = {class_key(name): name for name in known}
    found = difflib.get_close_matches(class_key(word), list(keys), 1, cutoff)
    return keys[found[0]] if found else None


def alike_classes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of class names that may be one, misspelt or in the plural.

    Two entries of the vocabulary are what it says. Of others, what differs must be words of four letters or more, of
    about one length, of which none is the other with something before it.

    Example:
        >>> alike_classes(["stripe", "stripes", "normal", "nromal", "abnormal", "type a", "type b"])
        [('stripe', 'stripes'), ('normal', 'nromal')]
    """
    return [pair for pair in itertools.combinations(names, 2) if _alike(*pair)]


def _alike(one: str, other: str) -> bool:
    entries = canonical_pathology(one), canonical_pathology(other)
    if all(entries):
        return entries[0] == entries[1]
    words, others = one.casefold().split(), other.casefold().split()
    first = " ".join(word for word in words if word not in others)
    second = " ".join(word for word in others if word not in words)
    if min(len(first), len(second)) < 4 or abs(len(first) - len(second)) > 1 or re.search(r"\d", first + second):
        return False
    negated = first.endswith(second) or second.endswith(first)
    return not negated and difflib.SequenceMatcher(None, first, second).ratio() >= ALIKE


class UnknownLabels:
    """Labels that a layout does not know: counted, and told once with the nearest known word.

    Args:
        origin: the table, list or folder that holds them.
        known: the words that are expected.
        strict: refuse instead.
        noun, nouns: what they are, for the message: one, and several.
        expected: in words, by default ``known``.
    """

    def __init__(
        self,
        origin: Path | str,
        known: Iterable[str],
        strict: bool = False,
        noun: str = "label",
        nouns: str = "labels",
        expected: str = "",
    ) -> None:
        self.origin, self.known, self.strict, self.nouns = origin, list(known), strict, (noun, nouns)
        self.expected = expected or ", ".join(self.known[:30])
        self._places: dict[tuple[str, str], list[int | str]] = {}
        self._alike: list[str] = []

    def add(self, word: str, *places: int | str, column: str = "") -> None:
        """Note a word and where it stands: row numbers, or paths; a missing one is no unknown label."""
        if not is_missing(word):
            self._places.setdefault((column, word), []).extend(places)

    def add_alike(self, name: str, other: str, *rows: int) -> None:
        """Note a class that may be another one, misspelt: it stays a class, unless ``strict``."""
        self._alike.append(f"{name!r} ({shown_rows(rows)}; nearest: {other})")

    def tell(self) -> None:
        """Name the words in one warning.

        Raises:
            DatalistError: there is one and ``strict`` is set.
        """
        words = sorted(self._places, key=lambda word: -len(self._places[word]))
        shown = [self._describe(*word) for word in words] or self._alike
        if not shown:
            return
        text = "; ".join(shown[:SHOWN_WORDS])
        text += f"; and {len(shown) - SHOWN_WORDS} more words" if len(shown) > SHOWN_WORDS else ""
        count = sum(map(len, self._places.values())) or len(self._alike)
        what = f"{count} {self.nouns[count != 1]}"
        if self.strict:
            problem = "that may be another one, misspelt" if self._alike else f"other than {self.expected} or blank"
            remedy = "leave --strict_labels out to go on with them" + " as unknown" * (not self._alike)
            raise DatalistError(f"{self.origin}: {what} {problem}: {text}. Correct them, or {remedy}.")
        if self._alike:
            logger.warning("%s: %s may be another one, misspelt, and stay as they are: %s", self.origin, what, text)
        else:
            logger.warning("%s: %s not known here, taken for unknown (null): %s", self.origin, what, text)

    def _describe(self, column: str, word: str) -> str:
        places = self._places[column, word]
        rows = [place for place in places if isinstance(place, int)]
        where = shown_rows(rows) if rows else f"{places[0]}" + f" and {len(places) - 1} more" * (len(places) > 1)
        near = nearest_word(word, self.known)
        said = f"{column} {word!r}".strip()
        return f"{said} ({where}; {f'nearest: {near}' if near else 'no known word is near'})"
