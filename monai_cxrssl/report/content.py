# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report content as plain JSON values.

All texts are plain text, never markup; :func:`~monai_cxrssl.report.page.page.write_page` escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from monai_cxrssl.errors import ConfigurationError

__all__ = ["Content", "Flag", "FlagLevel", "Picture", "Section", "Table", "TableCell"]

FlagLevel = Literal["good", "warning", "bad", "unknown"]
#: None, like NaN, stands for what is not assessable.
TableCell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """One table; a ConfigurationError where a row has more or fewer cells than there are columns."""

    caption: str  #: what it shows.
    columns: list[str]  #: headings; the first column names the row.
    rows: list[list[TableCell]]  #: as many cells each as there are columns.
    note: str = ""  #: a remark under the table, may be empty.

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigurationError(
                    f"Row {number} of the table {self.caption!r} has {len(row)} cells for {len(self.columns)} columns; "
                    "give one for each."
                )


@dataclass(frozen=True)
class Picture:
    """One picture."""

    file: str  #: PNG or JPEG file, relative to the folder of the report.
    alt: str  #: what it shows, for who cannot see it.
    caption: str  #: printed under it.


@dataclass(frozen=True)
class Flag:
    """One finding in words."""

    level: FlagLevel  #: ``"good"``, ``"warning"``, ``"bad"``, or ``"unknown"`` for what could not be assessed.
    text: str  #: a sentence.


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    id: str  #: anchor, unique on the page.
    title: str  #: heading.
    text: list[str] = field(default_factory=list)  #: paragraphs.
    flags: list[Flag] = field(default_factory=list)  #: findings.
    tables: list[Table] = field(default_factory=list)  #: tables.
    pictures: list[Picture] = field(default_factory=list)  #: pictures.


@dataclass(frozen=True)
class Content:
    """The whole page."""

    title: str  #: heading of the page.
    subtitle: str  #: model and data, in a line.
    created: str  #: date and versions, for the footer.
    verdict: str  #: of :func:`~monai_cxrssl.report.overall_sentence`.
    criteria: list[dict[str, Any]] = field(default_factory=list)  #: of :meth:`~monai_cxrssl.report.Criterion.to_dict`.
    flags: list[Flag] = field(default_factory=list)  #: the findings that come first.
    sections: list[Section] = field(default_factory=list)  #: in their order.
    card: list[dict[str, Any]] = field(default_factory=list)  #: fields of :class:`~monai_cxrssl.report.CardField`.
