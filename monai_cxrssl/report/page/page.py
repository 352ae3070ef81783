# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""HTML page of a report, one offline file with its pictures inside.

It has no script and loads nothing, which its content security policy enforces. The templates escape all texts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from monai_cxrssl.files import atomic_write
from monai_cxrssl.report.card import NOT_STATED
from monai_cxrssl.report.content import Content, Flag, Section, Table
from monai_cxrssl.report.criteria import exact_words
from monai_cxrssl.report.page.picture import inline_picture
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.page.table import cell_words, column_classes

__all__ = ["write_page"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
#: Level, and the word beside its shape; the gravest first.
_LEVELS = {"bad": "Problem", "warning": "Caution", "unknown": "Not assessable", "good": "Good"}
#: Verdict and its level; the gravest first.
_VERDICTS = {"fail": "bad", "not assessable": "unknown", "pass": "good"}


def write_page(content: Content, folder: str | os.PathLike) -> Path:
    """Write ``index.html``, with all pictures inside, in one step, into a folder that is made where it is missing.

    The files of pictures are relative to it; one that is missing, damaged or of one colour has a sentence in its place.
    """
    target = Path(folder) / "index.html"
    with atomic_write(target) as partial:
        partial.write_text(_page(content, target.parent), encoding="utf-8")
    return target


def _page(content: Content, folder: Path) -> str:
    given = [str(criterion.get("verdict")) for criterion in content.criteria]
    verdicts = [verdict if verdict in _VERDICTS else "not assessable" for verdict in given]
    worst = next((verdict for verdict in _VERDICTS if verdict in verdicts), "not assessable")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    environment.filters |= {
        "by_level": lambda flags: sorted(flags, key=lambda flag: list(_LEVELS).index(_level(flag))),
        "cell_words": cell_words,
        "column_classes": column_classes,
        "flag_words": _flag_words,
        "gravest_level": _gravest_level,
        "inline_picture": inline_picture,
    }
    return environment.get_template("page.html.j2").render(
        content=content,
        folder=folder,
        policy=_POLICY,
        verdict_level=_VERDICTS[worst],
        counts=[(level, verdict, verdicts.count(verdict)) for verdict, level in reversed(_VERDICTS.items())],
        criteria=[
            (criterion, _VERDICTS[verdict], verdict, _value_words(criterion))
            for criterion, verdict in zip(content.criteria, verdicts, strict=True)
        ],
        sections=list(zip(_anchors(content.sections), content.sections, strict=True)),
        card=_card_tables(content.card),
        stated=sum(map(_is_stated, content.card)),
        not_stated=NOT_STATED,
    )


def _value_words(criterion: Mapping[str, Any]) -> str | None:
    """Print the value of a criterion with as many digits as it takes to tell a miss from the threshold."""
    value = criterion.get("value")
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return None
    bounds = re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", str(criterion.get("threshold", "")))
    return exact_words(float(value), list(map(float, bounds))).replace("-", "−")


def _level(flag: Flag) -> str:
    return flag.level if flag.level in _LEVELS else "unknown"


def _flag_words(flags: Iterable[Flag]) -> list[tuple[str, str, str]]:
    """Return level, its word, and the text without that word, of each flag."""
    rows = [(_level(flag), _LEVELS[_level(flag)], flag.text) for flag in flags]
    return [(level, word, re.sub(f"^{word}: *", "", text, flags=re.IGNORECASE)) for level, word, text in rows]


def _gravest_level(flags: Sequence[Flag]) -> tuple[str, str]:
    """Return the level to warn of beside the entry in the contents, and its word; empty where all is well."""
    levels = {flag.level for flag in flags}
    return next(((level, word.lower()) for level, word in _LEVELS.items() if level in levels - {"good"}), ("", ""))


def _card_tables(card: Sequence[Mapping[str, Any]]) -> list[Table]:
    tables: dict[str, Table] = {}
    for entry in card:
        name = str(entry.get("section") or "")
        table = tables.setdefault(name, Table(name, ["Field", "What is stated", "Asked for by"], []))
        value = str(entry["value"]) if _is_stated(entry) else NOT_STATED
        table.rows.append([str(entry.get("field", "")), value, str(entry.get("item", ""))])
    return list(tables.values())


def _is_stated(entry: Mapping[str, Any]) -> bool:
    value = entry.get("value")
    return value is not None and str(value).strip() not in ("", NOT_STATED)


def _anchors(sections: Sequence[Section]) -> list[str]:
    """Name sections for links, in letters, digits and dashes, as no other part of the page is named."""
    taken = ["verdict", "findings", "reading", "card"]
    for section in sections:
        base = re.sub(r"[^a-z0-9]+", "-", (section.id or section.title).lower()).strip("-") or "part"
        anchor, number = base, 2
        while anchor in taken or anchor.startswith("shape-"):
            anchor, number = f"part-{base}-{number}", number + 1
        taken.append(anchor)
    return taken[4:]
