# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a report: one HTML file that opens offline, on a desk, on a phone and on paper.

It has no script and loads nothing, which its content security policy enforces. All texts are escaped.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from monai_cxrssl.files import atomic_write
from monai_cxrssl.report.card import NOT_STATED
from monai_cxrssl.report.content import Content, Flag, Section, Table
from monai_cxrssl.report.page.picture import picture_markup
from monai_cxrssl.report.page.style import SHAPES, STYLE, shape
from monai_cxrssl.report.page.table import cell_markup, table_markup, text_markup

__all__ = ["write_page"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
#: Level, and the word beside its shape; the gravest first.
_LEVELS = {"bad": "Problem", "warning": "Caution", "unknown": "Not assessable", "good": "Good"}
_VERDICTS = {"fail": ("bad", "fail"), "not assessable": ("unknown", "not assessable"), "pass": ("good", "pass")}
_READING = (
    "Unless a table says otherwise, figures are of the films of the test split; thresholds and temperatures were "
    "chosen on validation films. Whether patients of the test were also among those of the training is said under "
    "provenance.",
    "A “95 % interval over patients” is the range of the middle 95 % of figures that come out when patients are drawn "
    "anew, with all their films, as often as there are patients. It says how far chance in the choice of patients "
    "reaches; it says nothing about another hospital. Figures in brackets, and columns called low and high, "
    "are its ends.",
    "AUROC, average precision (AP), F1, sensitivity, specificity, PPV, NPV, Dice, IoU, the calibration error (ECE), "
    "Brier score and PFS (the share of the saliency that lies in the lungs) are shares from 0 to 1; an AUROC of 0.5 is "
    "guessing. Kappa is 0 at chance and 1 at full agreement. Distances are in millimetres where the spacing of the "
    "film is known, else in pixels; tables say which.",
    "A dash (–) means not assessable: there was too little to compute a figure from, or its result was not a number. "
    "It never means 0.",
)


def write_page(content: Content, folder: str | os.PathLike) -> Path:
    """Write ``index.html``, with all pictures inside, in one step.

    Args:
        content: what the page says.
        folder: of the report; the files of pictures are relative to it. It is made where it is missing.

    Returns:
        The file. A picture that is missing, damaged or of one colour has a sentence in its place.
    """
    target = Path(folder) / "index.html"
    with atomic_write(target) as partial:
        partial.write_text(_page(content, target.parent), encoding="utf-8")
    return target


def _page(content: Content, folder: Path) -> str:
    title = text_markup(content.title)
    taken = {"verdict", "findings", "reading", "card"}
    anchors = [_anchor(section.id or section.title, taken) for section in content.sections]
    entries = [("verdict", "Verdict", ""), ("reading", "How to read this page", "")]
    if content.flags:
        entries.insert(1, ("findings", "Main findings", ""))
    entries += [
        (anchor, section.title, _gravest(section.flags))
        for anchor, section in zip(anchors, content.sections, strict=True)
    ]
    if content.card:
        entries.append(("card", "Model card", ""))
    listed = "\n".join(
        f'<li><a href="#{anchor}">{text_markup(name)}</a>{_mark(level)}</li>' for anchor, name, level in entries
    )
    parts = [
        _verdict(content.verdict, content.criteria),
        _findings(content.flags),
        f'<nav class="contents" aria-label="Contents"><h2>Contents</h2><ol>\n{listed}\n</ol></nav>',
        '<section aria-labelledby="reading"><h2 id="reading">How to read this page</h2>'
        + "".join(f"<p>{text_markup(text)}</p>" for text in _READING)
        + "</section>",
        *(_section(section, anchor, folder) for section, anchor in zip(content.sections, anchors, strict=True)),
        _card(content.card),
    ]
    body = "\n".join(part for part in parts if part)
    created = text_markup(content.created)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
{SHAPES}
<header><h1>{title}</h1><p>{text_markup(content.subtitle)}</p><p class="created">{created}</p></header>
<main>
{body}
</main>
<footer><p><strong>Research use only; not a medical device.</strong></p><p class="soft">{created}</p></footer>
</body>
</html>
"""


def _verdict(sentence: str, criteria: Sequence[Mapping[str, Any]]) -> str:
    given = [str(criterion.get("verdict")) for criterion in criteria]
    verdicts = [verdict if verdict in _VERDICTS else "not assessable" for verdict in given]
    worst = next((name for name in _VERDICTS if name in verdicts), "not assessable")
    counts = "".join(
        f'<li class="{level}">{shape(level)} <span class="word">{verdicts.count(name)} {words}</span></li>'
        for name, (level, words) in reversed(_VERDICTS.items())
    )
    rows = []
    for criterion, verdict in zip(criteria, verdicts, strict=True):
        level, words = _VERDICTS[verdict]
        why = f'<br><span class="soft">Why: {text_markup(criterion["why"])}</span>' if criterion.get("why") else ""
        rows.append(
            f'<tr><th scope="row">{text_markup(criterion.get("title") or criterion.get("name", ""))}</th>'
            f'<td class="{level} verdict-cell" data-label="Verdict">{shape(level)} <span class="word">{words}</span>'
            "</td>"
            f'<td class="number" data-label="Found">{_found(criterion)}</td>'
            f'<td data-label="Asked">{text_markup(criterion.get("threshold", ""))}</td>'
            f'<td class="wide" data-label="Reason">{text_markup(criterion.get("reason", ""))}{why}</td></tr>'
        )
    table = '<p class="missing">No criteria were given.</p>'
    if rows:
        heads = "".join(f'<th scope="col">{name}</th>' for name in ("Criterion", "Verdict", "Found", "Asked", "Reason"))
        table = (
            '<div class="scroll stack" role="region" tabindex="0" aria-label="Criteria of readiness">'
            '<table aria-label="Criteria of readiness">'
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
        )
    return (
        f'<section class="verdict {_VERDICTS[worst][0]}" aria-labelledby="verdict"><h2 id="verdict">Verdict</h2>'
        f'<p class="sentence">{text_markup(sentence)}</p><ul class="counts">{counts}</ul>{table}</section>'
    )


def _found(criterion: Mapping[str, Any]) -> str:
    """The figure of a criterion, with as many digits as it takes to tell a miss from the threshold."""
    value = criterion.get("value")
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return cell_markup(None)
    asked = re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", str(criterion.get("threshold", "")))
    texts = [f"{float(value):.{digits}g}" for digits in (3, 6, 12)] + [repr(float(value))]
    missed = [text for text in texts if all(float(text) != float(bound) or value == float(bound) for bound in asked)]
    return text_markup((missed or texts)[0].replace("-", "−"))


def _findings(flags: Sequence[Flag]) -> str:
    if not flags:
        return ""
    order = list(_LEVELS)
    ordered = sorted(flags, key=lambda flag: order.index(flag.level) if flag.level in order else order.index("unknown"))
    return (
        '<section aria-labelledby="findings"><h2 id="findings">Main findings</h2>' + _flag_list(ordered) + "</section>"
    )


def _flag_list(flags: Sequence[Flag]) -> str:
    items = []
    for flag in flags:
        level = flag.level if flag.level in _LEVELS else "unknown"
        # The word stands before it already.
        text = re.sub(f"^{_LEVELS[level]}: *", "", flag.text, flags=re.IGNORECASE)
        items.append(
            f'<li class="{level}">{shape(level)}<span class="says"><span class="word {level}">{_LEVELS[level]}:</span> '
            f"{text_markup(text)}</span></li>"
        )
    return f'<ul class="flags">{"".join(items)}</ul>' if items else ""


def _gravest(flags: Sequence[Flag]) -> str:
    """The level to warn of beside the entry in the contents; empty where all is well."""
    return next((level for level in ("bad", "warning", "unknown") if any(flag.level == level for flag in flags)), "")


def _mark(level: str) -> str:
    if not level:
        return ""
    return f' <span class="mark {level}">{shape(level)} <span class="word">{_LEVELS[level].lower()}</span></span>'


def _section(section: Section, anchor: str, folder: Path) -> str:
    parts = [
        *(f"<p>{text_markup(text)}</p>" for text in section.text if text.strip()),
        _flag_list(section.flags),
        *(picture_markup(picture, folder) for picture in section.pictures),
        *(table_markup(table) for table in section.tables),
    ]
    body = "\n".join(part for part in parts if part) or '<p class="missing">There is nothing to show here.</p>'
    return (
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{text_markup(section.title)}</h2>\n{body}\n</section>'
    )


def _card(card: Sequence[Mapping[str, Any]]) -> str:
    if not card:
        return ""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for entry in card:
        grouped.setdefault(str(entry.get("section") or ""), []).append(entry)
    stated = sum(_stated(entry) for entry in card)
    parts = [
        '<section aria-labelledby="card"><h2 id="card">Model card</h2>'
        "<p>The fields of MONAI’s metadata and of the CLAIM (2024) and TRIPOD+AI checklists. "
        f"{stated} of {len(card)} are stated; what nobody stated is shown as such.</p>"
    ]
    for name, entries in grouped.items():
        rows: list[list[str | float | int | None]] = [
            [
                str(entry.get("field", "")),
                str(entry["value"]) if _stated(entry) else NOT_STATED,
                str(entry.get("item", "")),
            ]
            for entry in entries
        ]
        markup = table_markup(Table(name, ["Field", "What is stated", "Asked for by"], rows), stack=True)
        parts.append(markup.replace(f">{NOT_STATED}</td>", f'><span class="not-stated">{NOT_STATED}</span></td>'))
    return "\n".join(parts) + "</section>"


def _stated(entry: Mapping[str, Any]) -> bool:
    value = entry.get("value")
    return value is not None and str(value).strip() not in ("", NOT_STATED)


def _anchor(text: str, taken: set[str]) -> str:
    """A name for links, of letters, digits and dashes, that no other part of the page has."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    anchor, number = base, 2
    while anchor in taken or anchor.startswith("shape-"):
        anchor, number = f"part-{base}-{number}", number + 1
    taken.add(anchor)
    return anchor
